//! `nat-ctl host snapshot`
use std::net::Ipv4Addr;

use serde::Serialize;

use super::{block_on, edit_file::attached};
use crate::{
    cli::{Global, HostCommand},
    config::Config,
    datapath::{State, kernel::Pinned},
    desired::order,
    exit::{Exit, Failure},
    host::{AddressOrder, Namespace, Network},
    output::Out,
    source::Host,
};

/// `host snapshot`: what `--host` reads.
#[derive(Serialize)]
struct Snapshot {
    schema: &'static str,
    version: &'static str,
    #[serde(flatten)]
    host: Host,
}

/// Runs a subcommand.
pub fn run(global: &Global, command: &HostCommand, out: Out) -> Result<Exit, Failure> {
    match command {
        HostCommand::Snapshot => {
            // Enters the namespace; whatever keeps the instance from being read, this machine can be.
            let state = attached(global, false)?;
            snapshot(&configured(state.as_ref()), out)
        }
    }
}

/// Order and flags of addresses by the configuration in force, if there is one here.
fn configured(state: Option<&Pinned>) -> Vec<(String, Vec<(Ipv4Addr, bool)>)> {
    let here = |state: &&Pinned| match (state.instance(), Namespace::current()) {
        (Ok(instance), Ok(here)) => Namespace::of(&instance) == here,
        _ => false,
    };
    let text = state.filter(here).and_then(|state| state.config().ok().flatten());
    let config = text.and_then(|text| Config::parse(&text.text, &text.name).ok());
    config.map(|config| order(&config)).unwrap_or_default()
}

/// Prints this machine as source selection sees it, with the addresses in configured order.
fn snapshot(order: &AddressOrder, out: Out) -> Result<Exit, Failure> {
    let host = block_on(read(order))?;
    let snapshot = Snapshot { schema: "nat-ctl/host/1", version: env!("CARGO_PKG_VERSION"), host };
    if out.json {
        out.print_json(&snapshot)?;
    } else {
        let text = serde_json::to_string_pretty(&snapshot);
        out.print(&text.map_err(|error| Failure::failed(error.to_string()))?)?;
    }
    Ok(Exit::Ok)
}

async fn read(order: &AddressOrder) -> Result<Host, Failure> {
    let network = Network::read().await?;
    let mut host = network.to_host(order);
    host.routes.extend(network.read_ipv6_routes().await?);
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed is what `--host` reads: nothing is lost on the way.
    #[tokio::test]
    async fn a_snapshot_of_this_machine_comes_back_as_it_was() {
        let host = read(&[]).await.unwrap();
        let lo = host.interface("lo").unwrap();
        assert!(host.owner(Ipv4Addr::LOCALHOST.into()).is_none_or(|owner| owner == lo));
        let snapshot = Snapshot { schema: "nat-ctl/host/1", version: "0", host: host.clone() };
        let text = serde_json::to_string_pretty(&snapshot).unwrap();
        assert!(text.starts_with("{\n  \"schema\": \"nat-ctl/host/1\",\n  \"version\""), "{text}");
        assert_eq!(serde_json::from_str::<Host>(&text).unwrap(), host);
    }
}
