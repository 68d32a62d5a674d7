//! Changes of interfaces and addresses, as the kernel announces them.
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    MulticastGroup, new_multicast_connection, packet_core::NetlinkMessage, sys::SocketAddr,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::exit::Failure;

/// Changes come in bursts; what comes within this time is looked at together.
const BURST: Duration = Duration::from_millis(20);

type Messages =
    Box<dyn Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Unpin + Send>;

/// A subscription to this network namespace.
pub struct Watch {
    messages: Messages,
    connection: JoinHandle<()>,
}

impl Watch {
    /// Subscribes. Changes from here on are announced.
    pub fn new() -> Result<Self, Failure> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
        let (connection, _, messages) = new_multicast_connection(&groups).map_err(|error| {
            Failure::host(format!("cannot follow changes of this host\n  caused by: {error}"))
        })?;
        Ok(Self { messages: Box::new(messages), connection: tokio::spawn(connection) })
    }

    /// Waits until something has changed, whatever. What exactly is not looked at: after a lost
    /// message nothing but a fresh look would help, and a fresh look is always right.
    pub async fn changed(&mut self) -> Result<(), Failure> {
        if self.messages.next().await.is_none() {
            return Err(Failure::failed("the kernel's announcements have ended"));
        }
        let deadline = Instant::now() + BURST;
        while let Ok(Some(_)) = timeout_at(deadline, self.messages.next()).await {}
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
