//! What drivers can do with XDP, as the kernel tells from Linux 6.3 on: the generic netlink family
//! `netdev` (include/uapi/linux/netdev.h; Documentation/netlink/specs/netdev.yaml).
use std::{collections::BTreeMap, io};

use rtnetlink::{
    packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR},
    sys::{Socket, SocketAddr, protocols},
};

use super::{netlink::messages, parse::attributes};

/// NETDEV_XDP_ACT_…
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpFeatures(pub u64);

impl XdpFeatures {
    /// The usual answers of a program, but for redirection.
    pub const BASIC: Self = Self(1);
    pub const REDIRECT: Self = Self(2);
    /// Takes frames that are redirected to it. Some drivers say so only while they have a program.
    pub const NDO_XMIT: Self = Self(4);
    /// Hands over frames in several buffers.
    pub const BUFFERS: Self = Self(32);
    /// Takes such frames that are redirected to it.
    pub const XMIT_BUFFERS: Self = Self(64);

    /// Whether all of these are among them.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// Lengths of headers, bytes: of generic netlink, and with that of netlink before it.
const GENERIC_HEADER: usize = 4;
const HEADERS: usize = 20;

/// include/uapi/linux/genetlink.h
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// By index, the features of all interfaces of this thread's network namespace; None if the kernel
/// does not tell.
pub fn features() -> Option<BTreeMap<u32, XdpFeatures>> {
    ask().inspect_err(|error| tracing::debug!("no features of XDP: {error}")).ok()
}

fn ask() -> io::Result<BTreeMap<u32, XdpFeatures>> {
    let mut socket = Socket::new(protocols::NETLINK_GENERIC)?;
    socket.bind_auto()?;
    let name = attribute(CTRL_ATTR_FAMILY_NAME, b"netdev\0");
    send(&socket, GENL_ID_CTRL, NLM_F_REQUEST, CTRL_CMD_GETFAMILY, &name)?;
    let mut family = None;
    receive(&socket, false, |payload| family = family_of(payload).or(family))?;
    let family = family.ok_or(io::ErrorKind::Unsupported)?;
    send(&socket, family, NLM_F_REQUEST | NLM_F_DUMP, NETDEV_CMD_DEV_GET, &[])?;
    let mut all = BTreeMap::new();
    receive(&socket, true, |payload| all.extend(device(payload)))?;
    Ok(all)
}

/// Padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut bytes = (length as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

fn send(socket: &Socket, kind: u16, flags: u16, command: u8, rest: &[u8]) -> io::Result<()> {
    let mut bytes = ((HEADERS + rest.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Number and sender: one question at a time needs neither.
    bytes.extend([0; 8]);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend(rest);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map(drop)
}

/// One answer, or those of a dump.
fn receive(socket: &Socket, dump: bool, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for message in messages(&datagram) {
            match message.kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code =
                        message.payload.first_chunk().map_or(0, |it| i32::from_ne_bytes(*it));
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                _ => each(message.payload),
            }
        }
        if !dump {
            return Ok(());
        }
    }
}

fn family_of(payload: &[u8]) -> Option<u16> {
    let mut list = attributes(payload, GENERIC_HEADER);
    let (_, value) = list.find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID)?;
    value.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn device(payload: &[u8]) -> Option<(u32, XdpFeatures)> {
    let (mut index, mut features) = (None, None);
    for (kind, value) in attributes(payload, GENERIC_HEADER) {
        match kind {
            NETDEV_A_DEV_IFINDEX => index = value.first_chunk().map(|it| u32::from_ne_bytes(*it)),
            NETDEV_A_DEV_XDP_FEATURES => {
                features = value.first_chunk().map(|it| XdpFeatures(u64::from_ne_bytes(*it)));
            }
            _ => {}
        }
    }
    Some((index?, features?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read() {
        let mut payload = vec![NETDEV_CMD_DEV_GET, 1, 0, 0];
        payload.extend(attribute(NETDEV_A_DEV_IFINDEX, &7u32.to_ne_bytes()));
        assert_eq!(device(&payload), None);
        payload.extend(attribute(9, b"?"));
        payload.extend(attribute(NETDEV_A_DEV_XDP_FEATURES, &3u64.to_ne_bytes()));
        let (index, features) = device(&payload).unwrap();
        assert_eq!(index, 7);
        assert!(features.has(XdpFeatures::BASIC) && features.has(XdpFeatures::REDIRECT));
        assert!(!features.has(XdpFeatures::NDO_XMIT));
    }

    #[test]
    fn loopback_has_no_native_xdp() {
        // Where the kernel is older there is nothing to be seen.
        if let Some(all) = features() {
            assert_eq!(all.get(&1), Some(&XdpFeatures(0)), "{all:?}");
        }
    }
}
