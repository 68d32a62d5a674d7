//! A namespace with two networks, and a picture of it that is kept up to date.
//!
//! ```text
//!   wan0 192.0.2.1/24, 192.0.2.2/24      lan0 10.0.0.1/24
//! ```
use std::time::Duration;

use nat_ctl::host::{
    Network, NetworkDelta, Watch,
    routes::{Route, RouteDelta},
};
use nat_tests::lab::{
    NetNs,
    process::{ip, tool},
};
use serde_json::Value;
use tokio::{runtime, time::timeout};

/// How long the picture may take to follow.
const LIMIT: Duration = Duration::from_secs(10);

pub struct Machine {
    namespace: NetNs,
}

impl Machine {
    pub fn new() -> Self {
        let machine = Self { namespace: NetNs::new() };
        machine.namespace.sysctl("net/ipv4/conf/default/promote_secondaries", "0");
        // The other ends are of no interest.
        machine
            .ip("link add wan0 type veth peer name wan0p\nlink add lan0 type veth peer name lan0p");
        machine.ip("addr add 192.0.2.1/24 dev wan0\naddr add 192.0.2.2/24 dev wan0");
        machine.ip("addr add 10.0.0.1/24 dev lan0");
        for link in ["wan0", "wan0p", "lan0", "lan0p"] {
            machine.ip(&format!("link set {link} up"));
        }
        machine
    }

    /// Commands of `ip`, without that word, one a line. Whoever listens has heard of what they do
    /// when this returns: the kernel announces a change before it answers who has asked for it.
    pub fn ip(&self, batch: &str) {
        ip(&self.namespace, &format!("{batch}\n"));
    }

    /// What `ip -j` prints.
    pub fn show(&self, arguments: &[&str]) -> Value {
        let text = tool(&self.namespace, "ip", &[&["-j"], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }

    pub fn namespace(&self) -> &NetNs {
        &self.namespace
    }

    /// Runs something that waits, in the namespace.
    pub fn run<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        self.namespace.enter(|| {
            runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work())
        })
    }
}

/// A picture, and what someone made of its deltas alone.
pub struct Live {
    pub network: Network,
    pub watch: Watch,
    routes: Vec<Route>,
}

impl Live {
    pub async fn new() -> Self {
        Self::with(Watch::new().unwrap()).await
    }

    pub async fn with(watch: Watch) -> Self {
        let network = Network::read().await.unwrap();
        let routes = network.routes.iter().collect();
        Self { network, watch, routes }
    }

    /// Follows what has been announced until now, at least once.
    pub async fn follow(&mut self) -> NetworkDelta {
        let changes = timeout(LIMIT, self.watch.changes()).await.unwrap().unwrap();
        let delta = self.network.follow(&mut self.watch, &changes).await.unwrap();
        self.take(&delta.routes);
        delta
    }

    /// Follows until the picture is what there is, and so is the sum of the deltas.
    pub async fn catch_up(&mut self) {
        loop {
            self.follow().await;
            let now = Network::read().await.unwrap();
            if self.network == now {
                return assert_eq!(self.routes(), now.routes.iter().collect::<Vec<_>>());
            }
        }
    }

    pub fn routes(&self) -> Vec<Route> {
        let mut routes = self.routes.clone();
        // Stable: routes that differ in the next hop only stay as they came.
        routes.sort_by_key(|route| {
            (route.table, route.dst.network(), route.dst.prefix_len(), route.metric)
        });
        routes
    }

    fn take(&mut self, delta: &RouteDelta) {
        for gone in &delta.removed {
            let place = self.routes.iter().position(|route| route == gone);
            self.routes.remove(place.unwrap_or_else(|| panic!("{gone:?} was not there")));
        }
        self.routes.extend(&delta.added);
    }
}
