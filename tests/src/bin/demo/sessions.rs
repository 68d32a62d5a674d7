//! The JSON session list, compared with what the client and the server know.

use std::net::SocketAddrV4;

use serde_json::{Value, json};

/// The three ends of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub proto: &'static str,
    pub inside: SocketAddrV4,
    /// Port (or identifier) as the server saw it; `None` if it cannot know.
    pub outside: (std::net::Ipv4Addr, Option<u16>),
    pub remote: SocketAddrV4,
}

/// Finds the session of a flow and checks every documented field. Says which session it is.
pub fn check(list: &Value, flow: &Flow, rule: &str) -> Result<String, String> {
    if list["schema"] != "nat-ctl/sessions/1" {
        return Err(format!("schema is {}", list["schema"]));
    }
    let sessions = list["sessions"].as_array().ok_or("no list of sessions")?;
    let endpoint = |end: SocketAddrV4| json!({ "addr": end.ip().to_string(), "port": end.port() });
    // ICMP has no port at the remote end: what stands there is not part of the contract.
    let is_remote = |session: &Value| match flow.proto {
        "icmp" => session["remote"]["addr"] == flow.remote.ip().to_string(),
        _ => session["remote"] == endpoint(flow.remote),
    };
    let session = sessions
        .iter()
        .find(|session| {
            session["proto"] == flow.proto
                && session["inside"] == endpoint(flow.inside)
                && is_remote(session)
        })
        .ok_or_else(|| format!("no {} session from {} in {list}", flow.proto, flow.inside))?;

    let (address, port) = flow.outside;
    let outside = &session["outside"];
    if outside["addr"] != address.to_string() || port.is_some_and(|port| outside["port"] != port) {
        return Err(format!("outside is {outside}, the server saw {address} port {port:?}"));
    }
    if session["rule"] != rule {
        return Err(format!("rule is {}", session["rule"]));
    }
    let state = session["state"].as_str().ok_or_else(|| format!("no state in {session}"))?;
    if flow.proto == "tcp" && state != "established" {
        return Err(format!("the state of an open connection is {state}"));
    }
    for pointer in ["/age_s", "/expires_s"] {
        number(session, pointer)?;
    }
    for pointer in ["/packets/out", "/packets/in", "/bytes/out", "/bytes/in"] {
        if number(session, pointer)? == 0 {
            return Err(format!("{pointer} is 0 in {session}"));
        }
    }
    let Value::Number(port) = &outside["port"] else {
        return Err(format!("no outside port in {session}"));
    };
    Ok(format!("{} is {address}:{port} outside, {state}", flow.inside))
}

fn number(session: &Value, pointer: &str) -> Result<u64, String> {
    let value = session.pointer(pointer).and_then(Value::as_u64);
    value.ok_or_else(|| format!("no number {pointer} in {session}"))
}
