//! The controller's loop: one thing after another, so that nothing needs a lock.
use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Applied, Controller, Keeper, StaticRoutes,
    signals::{Order, Signals},
};
use crate::{
    api::{Answer, Call, Request},
    datapath::Datapath,
    exit::Failure,
    host::{Watch, Ways, look_after},
};

/// How often ended sessions are removed. Nothing waits for it: the data path itself takes an ended
/// session for absent, and removes it where it is in the way.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// How often the kernel is told which neighbours XDP sends to.
const CARE_INTERVAL: Duration = Duration::from_secs(5);

/// How long the last answer may take to get away before the process ends.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(1);

/// What the controller waits for.
pub struct Events {
    pub signals: Signals,
    pub watch: Watch,
    pub ways: Ways,
    pub calls: mpsc::Receiver<Call>,
}

/// Serves until a signal or a request says stop, and leaves the data path in place. `ready` is
/// called once everything is in force and visible.
pub async fn serve<D: Datapath>(
    controller: &mut Controller<D>,
    mut events: Events,
    routes: &mut StaticRoutes,
    mut keeper: Keeper,
    ready: impl FnOnce(),
) -> Result<(), Failure> {
    controller.sweep()?;
    routes.keep(controller.network(), &controller.config().static_routes).await;
    ready();
    let mut sweeps = interval(SWEEP_INTERVAL);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cares = interval(CARE_INTERVAL);
    cares.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped_by = loop {
        let mut changed = true;
        tokio::select! {
            way = events.ways.changed() => {
                changed = false;
                way?;
                if let Err(failure) = controller.ways_changed() {
                    tracing::error!("{failure}");
                }
            }
            order = events.signals.next() => match order {
                Order::Stop(signal) => break signal,
                Order::Reload => drop(log("SIGHUP", controller.reload())),
            },
            changes = events.watch.changes() => {
                let delta = controller.network_mut().follow(&mut events.watch, &changes?).await?;
                if !delta.is_empty() && let Err(failure) = controller.follow(&delta) {
                    tracing::error!("cannot follow a change of this host: {failure}");
                }
            }
            _ = sweeps.tick() => {
                changed = false;
                match controller.sweep() {
                    Ok(false) => {}
                    // After whatever else there is to do.
                    Ok(true) => sweeps.reset_immediately(),
                    Err(failure) => tracing::error!("{failure}"),
                }
                keeper.keep(controller.state()).await;
            }
            _ = cares.tick() => {
                changed = false;
                if let Err(failure) = look_after(controller.next_hops()).await {
                    tracing::warn!("cannot look after neighbours: {failure}");
                }
            }
            Some(call) = events.calls.recv() => {
                let stop = matches!(call.request, Request::Stop);
                let answer = answer(controller, call.request);
                // Whoever asked may have gone.
                let _ = call.answer.send(answer);
                if stop {
                    let _ = timeout(DELIVERY_PATIENCE, call.delivered).await;
                    break "a request";
                }
            }
        }
        if changed {
            routes.keep(controller.network(), &controller.config().static_routes).await;
        }
    };
    tracing::info!("stopped by {stopped_by}: the data path stays; `nat-ctl detach` removes it");
    keeper.finish(controller.state()).await;
    controller.leave()
}

fn answer<D: Datapath>(controller: &mut Controller<D>, request: Request) -> Answer {
    match request {
        Request::Ping | Request::Stop => Answer::done(),
        Request::Reload => log("a request", controller.reload()).into(),
        Request::Apply { config, dry_run } => {
            let applied = controller.apply(config, dry_run);
            if dry_run { applied.into() } else { log("a request", applied).into() }
        }
    }
}

/// Says in the log what a new configuration has changed, or that it has not.
fn log(because: &str, applied: Result<Applied, Failure>) -> Result<Applied, Failure> {
    match &applied {
        Ok(applied) => {
            for warning in &applied.warnings {
                tracing::warn!("{warning}");
            }
            tracing::info!(changes = applied.plan.len(), "applied the configuration ({because})");
        }
        Err(failure) => {
            tracing::error!("the old configuration stays ({because}): {failure}");
        }
    }
    applied
}
