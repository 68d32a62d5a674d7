//! `nat-ctl apply`
use serde::Serialize;

use super::{
    block_on, enter_namespace, open,
    start::{Loaded, start},
};
use crate::{
    api::{self, Answer, Request},
    cli::{ApplyArgs, Global},
    config::Config,
    datapath::State,
    desired::{desired, lacking},
    exit::{Exit, Failure},
    hook,
    host::{Namespace, Network, forward_filters, preflight},
    output::{Out, sanitise},
    plan::Plan,
    sources::{Remembered, Sources},
};

/// `apply -j`
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    version: &'static str,
    dry_run: bool,
    #[serde(flatten)]
    plan: Plan,
    warnings: Vec<String>,
}

/// Shows what a configuration changes and puts it in force: through the controller if one runs,
/// else on the pins.
pub fn run(global: &Global, args: &ApplyArgs, out: Out) -> Result<Exit, Failure> {
    let loaded = Loaded::file(&args.file)?;
    for warning in &loaded.config.warnings {
        eprintln!("{warning}");
    }
    let path = api::socket_path(global.instance.as_str());
    let request = Request::Apply { config: loaded.text.clone(), dry_run: args.dry_run };
    let answer = match api::client::ask(&path, &request)? {
        Some(answer) => answer,
        None => without_controller(global, loaded, args.dry_run)?,
    };
    if let Some(failure) = answer.failure() {
        return Err(failure);
    }
    let report = Report {
        schema: "nat-ctl/plan/1",
        version: env!("CARGO_PKG_VERSION"),
        dry_run: args.dry_run,
        plan: answer.plan.unwrap_or_default(),
        warnings: answer.warnings,
    };
    for warning in report.warnings.iter().filter(|_| !out.json) {
        eprintln!("warning: {}", sanitise(warning));
    }
    out.answer(&report, |report, _| report.plan.to_string())?;
    Ok(Exit::Ok)
}

fn without_controller(global: &Global, loaded: Loaded, dry_run: bool) -> Result<Answer, Failure> {
    let pinned = open(global)?;
    let in_force = pinned.config()?;
    let ours = pinned.interfaces()?;
    let old = in_force.map(|old| Config::parse(&old.text, &old.name)).transpose()?;
    let plan = old.map(|old| Plan::between(&old, &loaded.config)).unwrap_or_default();
    plan.refuse_if_not_live()?;
    let kernel = preflight::check()?;
    let namespace = match enter_namespace(global)? {
        Some(namespace) => namespace,
        None => Namespace::current().map_err(|error| Failure::host(error.to_string()))?,
    };
    block_on(async {
        let network = Network::read().await?;
        let mut sources = Sources::default();
        let remembered = Remembered::new();
        let situation = hook::Situation::of(&loaded.config, &network, &ours, forward_filters);
        let wanted = desired(&loaded.config, &network, &mut sources, &remembered, &situation)?;
        let mut warnings = wanted.warnings;
        warnings.extend(lacking(&wanted.table, &network, &sources));
        if !dry_run {
            let (mut controller, mut routes) = start(global, kernel, namespace, loaded, network)?;
            routes.keep(controller.network(), &controller.config().static_routes).await;
            controller.leave()?;
        }
        Ok(Answer { plan: Some(plan), warnings, ..Answer::done() })
    })
}
