//! `nat-ctl run` and `nat-ctl attach`
use sd_notify::NotifyState;

use super::{
    enter_namespace,
    start::{Loaded, start},
    store,
};
use crate::{
    api,
    cli::{Global, RunArgs},
    controller::{Controller, Events, Keeper, Signals, StaticRoutes, serve},
    cooling::this_boot,
    datapath::kernel::Attached,
    exit::{Exit, Failure},
    host::{Namespace, Network, Watch, Ways, preflight},
};

/// Attaches or adopts the data path and controls it until somebody says stop.
pub fn run(global: &Global, args: &RunArgs) -> Result<Exit, Failure> {
    within_runtime(global, args, async |mut controller, mut routes| {
        let signals = Signals::take()?;
        let mut watch = Watch::new()?;
        let ways = Ways::new()?;
        // What changed before the subscription.
        controller.ways_changed()?;
        let delta = controller.network_mut().read_again(&mut watch).await?;
        controller.follow(&delta)?;
        controller.end_orphans()?;
        let path = api::socket_path(global.instance.as_str());
        let (_socket, calls) = api::server::listen(&path)?;
        let keeper = Keeper::new(store(global), this_boot()?);
        let events = Events { signals, watch, ways, calls };
        serve(&mut controller, events, &mut routes, keeper, || {
            // Without a service manager there is nobody to tell.
            let _ = sd_notify::notify(&[NotifyState::Ready]);
            tracing::info!(instance = global.instance.as_str(), "ready");
        })
        .await
    })
}

/// Attaches or adopts the data path and leaves it to itself.
pub fn attach(global: &Global, args: &RunArgs) -> Result<Exit, Failure> {
    within_runtime(global, args, async |mut controller, mut routes| {
        routes.keep(controller.network(), &controller.config().static_routes).await;
        controller.leave()
    })
}

fn within_runtime(
    global: &Global,
    args: &RunArgs,
    then: impl AsyncFnOnce(Controller<Attached>, StaticRoutes) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    // What needs no host comes first: a bad file is exit 2 on every machine.
    let loaded = args.config.as_deref().map(Loaded::file).transpose()?;
    let kernel = preflight::check()?;
    let namespace = enter_namespace(global)?;
    super::block_on(async {
        let network = Network::read().await?;
        let loaded = match loaded {
            Some(loaded) => loaded,
            None => Loaded::quick(args, &network)?,
        };
        for warning in &loaded.config.warnings {
            eprintln!("{warning}");
        }
        preflight::warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        let namespace = match namespace {
            Some(namespace) => namespace,
            None => Namespace::current().map_err(|error| Failure::host(error.to_string()))?,
        };
        let (controller, routes) = start(global, kernel, namespace, loaded, network)?;
        then(controller, routes).await?;
        Ok(Exit::Ok)
    })
}
