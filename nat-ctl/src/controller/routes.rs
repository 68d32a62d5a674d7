//! The static routes of the configuration, kept in the kernel.
use crate::{
    config::StaticRoute,
    exit::Failure,
    host::{Network, static_routes},
};

/// See the module.
#[derive(Debug, Default)]
pub struct StaticRoutes {
    /// What the kernel was made to have.
    wanted: Vec<StaticRoute>,
    /// What did not work the last time, and has been said.
    said: Vec<String>,
}

impl StaticRoutes {
    /// `before` are those of the configuration that was in force.
    pub fn new(before: Vec<StaticRoute>) -> Self {
        Self { wanted: before, said: Vec::new() }
    }

    /// Makes the kernel have what is wanted, after a change of the host or of the configuration.
    pub async fn keep(&mut self, network: &Network, wanted: &[StaticRoute]) {
        let kept = if wanted == self.wanted {
            static_routes::keep(network, wanted).await
        } else {
            static_routes::put(network, wanted, &self.wanted).await
        };
        self.wanted = wanted.to_vec();
        let warnings = kept.unwrap_or_else(|failure: Failure| vec![failure.what]);
        super::warn_of_new(&warnings, &self.said);
        self.said = warnings;
    }
}
