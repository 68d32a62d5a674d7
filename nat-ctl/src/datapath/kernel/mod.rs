//! The data path in the kernel. The only module that imports aya.
pub mod attach;
mod batch;
pub mod choices;
mod config_text;
pub mod cooling;
mod held;
mod interfaces;
mod link;
pub mod load;
pub mod maps;
pub mod pins;
mod refused;
mod ring;
mod run;
mod state;
pub mod table;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use aya::{Ebpf, maps::MapError};
use aya_log::EbpfLogger;
use nat_common::{
    cooldown::Resting,
    flow::FlowKey,
    hop::Hop,
    instance::{COOLING_LOST, HookReason, Instance},
    limits::CLEAR_TUPLES_MAX,
    session,
    stats::Hook,
};
use tokio::io::{Interest, unix::AsyncFd};

use self::{
    attach::{Added, Done, TcKind},
    cooling::Lacking,
    load::LogLevel,
    maps::{Maps, Sizes},
    pins::{Lock, Pins},
    run::{EMPTY_PACKET, run_often, run_on_keys},
};
use super::{
    ChoiceChange, Choices, ConfigText, Datapath, Error, Interface, NextHop, State, Swept,
    error::AnyError,
};
use crate::{
    clock,
    compile::RuleTable,
    hook,
    host::{self, Namespace},
    source::TableKey,
};

/// What [`take`] needs to know.
pub struct Plan {
    pub pins: Pins,
    pub namespace: Namespace,
    pub tc: TcKind,
    /// For a new instance; one that is there keeps its sizes.
    pub sizes: Sizes,
    pub log: LogLevel,
}

/// The pinned maps of an instance: enough to read everything.
pub struct Pinned {
    maps: Maps,
}

impl Pinned {
    /// Opens an attached instance. `namespace` is the network namespace that the user named, if
    /// any: the instance must belong to it.
    pub fn open(pins: &Pins, namespace: Option<Namespace>) -> Result<Self, Error> {
        pins.expect()?;
        let pinned = Self { maps: Maps::open(pins)? };
        if let Some(namespace) = namespace {
            pinned.expect_namespace(pins, namespace)?;
        }
        Ok(pinned)
    }

    /// Sizes of the maps that the configuration gave when they were made.
    pub fn sizes(&self) -> Result<Sizes, Error> {
        let instance = self.instance()?;
        Ok(Sizes { sessions: instance.max_sessions, cooling: instance.max_cooling })
    }

    fn expect_namespace(&self, pins: &Pins, namespace: Namespace) -> Result<(), Error> {
        if Namespace::of(&self.instance()?) == namespace {
            return Ok(());
        }
        Err(Error::OtherNamespace { instance: pins.instance().to_owned() })
    }
}

/// A data path in the hands of whoever may change it.
pub struct Attached {
    pins: Pins,
    lock: Lock,
    tc: TcKind,
    pinned: Pinned,
    tables: choices::Tables,
    ebpf: Ebpf,
    /// Whether it was there before: a new one is removed again unless [`Attached::keep`] is
    /// called.
    adopted: bool,
}

/// How long a command waits for another one that is changing the instance. A controller changes it
/// for as long as it runs.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Takes an instance into one's hands: adopts the one that is there, or makes a new one. Loads the
/// programs, but changes nothing that runs.
pub fn take(plan: Plan) -> Result<Attached, Error> {
    let lock = plan.pins.lock(LOCK_PATIENCE)?;
    if plan.pins.exist() {
        // Everything is checked before aya touches the pins: it compares nothing.
        let pinned = Pinned::open(&plan.pins, Some(plan.namespace))?;
        let ebpf = load::load(&mut load::loader(&plan.pins, pinned.sizes()?, plan.log))?;
        let Plan { pins, tc, .. } = plan;
        return Ok(Attached {
            pins,
            lock,
            tc,
            pinned,
            tables: choices::Tables::default(),
            ebpf,
            adopted: true,
        });
    }
    let making = plan.pins.make(&lock)?;
    let made = load::load(&mut load::loader(&making, plan.sizes, plan.log))
        .and_then(|ebpf| Ok((ebpf, Maps::open_new(&making, plan.sizes)?)));
    match made {
        Ok((ebpf, mut maps)) => {
            record(&mut maps, &plan)
                .map_err(|error| Error::kernel("cannot record the instance")(error.into()))?;
            let Plan { pins, tc, .. } = plan;
            let pinned = Pinned { maps };
            Ok(Attached {
                pins,
                lock,
                tc,
                pinned,
                tables: choices::Tables::default(),
                ebpf,
                adopted: false,
            })
        }
        Err(error) => {
            // The first error says more than one of this.
            let _ = plan.pins.remove(&lock);
            Err(error)
        }
    }
}

fn record(maps: &mut Maps, plan: &Plan) -> Result<(), MapError> {
    let instance = Instance {
        netns_device: plan.namespace.device,
        netns_inode: plan.namespace.inode,
        attached_ns: clock::now_ns(),
        heartbeat_ns: 0,
        max_sessions: plan.sizes.sessions,
        max_cooling: plan.sizes.cooling,
        controller_pid: 0,
        flags: 0,
        ways: 1,
        follows_ways: 0,
    };
    maps.instance.set(0, instance, 0)
}

impl Attached {
    /// Sizes of the maps that the configuration gave when they were made.
    pub fn sizes(&self) -> Result<Sizes, Error> {
        self.pinned.sizes()
    }

    /// Whether the instance was there before.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// Lets tuples rest in a new instance, before its programs run. Where there is no room for all,
    /// the oldest are left out.
    pub fn restore(&mut self, tuples: &[(FlowKey, Resting)]) -> Result<Lacking, Error> {
        let room = self.sizes()?.cooling as usize;
        let lacking = tuples.len().saturating_sub(room);
        self.pinned.maps.rest(tuples.get(lacking..).unwrap_or_default())?;
        Ok(Lacking(lacking))
    }

    /// Records that nobody knows what rested before this instance.
    pub fn record_loss(&mut self) -> Result<(), Error> {
        let mut instance = self.pinned.instance()?;
        instance.flags |= COOLING_LOST;
        self.pinned
            .maps
            .instance
            .set(0, instance, 0)
            .map_err(|error| Error::kernel("cannot record the instance")(error.into()))
    }

    /// Puts rules in force and programs on interfaces for the first time in this process. A new
    /// instance gets its rules before its programs, which would drop everything without; one that
    /// was there gets its new programs first, so that an interface that cannot be attached leaves
    /// the rules as they were. On an error a new instance is gone.
    pub fn start(
        &mut self,
        table: &RuleTable,
        choices: &dyn Choices,
        config: &ConfigText,
        interfaces: &[Interface],
    ) -> Result<Vec<String>, Error> {
        if self.adopted {
            let done = self.attach(interfaces)?;
            self.apply(table, choices, config)?;
            return Ok(done);
        }
        let started = self
            .apply(table, choices, config)
            .and_then(|()| self.pins.made(&self.lock))
            .and_then(|()| self.attach(interfaces));
        if started.is_err() {
            let _ = self.pins.remove(&self.lock);
        }
        self.adopted = started.is_ok();
        started
    }

    /// Holds fragments that come before the first one of their packet, until the task is dropped. To
    /// be called at most once, within a tokio runtime.
    pub fn hold_fragments(&mut self) -> Result<(), Error> {
        held::start(&mut self.ebpf)
    }

    /// Tells clients whose sessions are refused, until the task is dropped. To be called at most once,
    /// within a tokio runtime.
    pub fn answer_refusals(&mut self) -> Result<(), Error> {
        refused::start(&mut self.ebpf)
    }

    /// Forwards what the data path logs to this process's log, until the task is dropped. To be
    /// called at most once, within a tokio runtime.
    pub fn forward_log(&mut self) -> Result<(), Error> {
        let failed = |error: AnyError| Error::kernel("cannot read the data path's log")(error);
        let logger = EbpfLogger::init(&mut self.ebpf).map_err(|error| failed(error.into()))?;
        // SAFETY: the logger owns its ring buffer and keeps it open for as long as it lives.
        let mut logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
            .map_err(|error| failed(error.into_parts().1.into()))?;
        tokio::spawn(async move {
            while let Ok(mut ready) = logger.readable_mut().await {
                ready.get_inner_mut().flush();
                ready.clear_ready();
            }
        });
        Ok(())
    }
}

impl Datapath for Attached {
    fn apply(
        &mut self,
        table: &RuleTable,
        choices: &dyn Choices,
        config: &ConfigText,
    ) -> Result<(), Error> {
        table::apply(&mut self.pinned.maps, &mut self.tables, table, choices, config)
    }

    fn change_choices(&mut self, key: &TableKey, changes: &[ChoiceChange]) -> Result<(), Error> {
        self.tables.change(&mut self.pinned.maps, key, changes)
    }

    fn end(&mut self, keys: &[FlowKey]) -> Result<u32, Error> {
        run_on_keys(&self.ebpf, "flush", keys)
    }

    fn attach(&mut self, interfaces: &[Interface]) -> Result<Vec<String>, Error> {
        let there = attach::pinned(&self.pins);
        let before = self.pinned.interfaces()?;
        self.add_interfaces(interfaces)?;
        self.place_devices(interfaces)?;
        let mut done = Vec::new();
        let mut added = Vec::new();
        let mut chosen = interfaces.to_vec();
        'hooks: for hook in attach::ATTACH_ORDER {
            for interface in interfaces {
                if !attach::wanted(interface.role, interface.hook, hook) {
                    continue;
                }
                let known = before.iter().any(|one| one.index == interface.index);
                let (ebpf, pins) = (&mut self.ebpf, &self.pins);
                match attach::ensure(ebpf, pins, &there, interface, hook, self.tc, known) {
                    Ok(Done::Replaced) => {}
                    Ok(Done::Attached(what)) => {
                        done.push(format!("attached {} to {}", hook.name(), interface.name));
                        added.push(what);
                    }
                    // XDP comes last: TC is everywhere by now.
                    Err(error) if attach::is_xdp(hook) && hook::is_choice(interface) => {
                        tracing::warn!("{error}");
                        hook::fall_back(&mut chosen, interface.index, HookReason::Refused);
                        break 'hooks;
                    }
                    Err(error) => {
                        added.into_iter().for_each(Added::undo);
                        // The error that counts is the first.
                        let _ = self.remove_interfaces(&before);
                        let _ = self.place_devices(&before);
                        return Err(error);
                    }
                }
            }
        }
        // Some drivers say so only when they have a program.
        if chosen.iter().any(hook::is_choice)
            && let Some(features) = host::xdp_features()
            && let Some(index) = hook::not_redirectable(&chosen, &features)
        {
            hook::fall_back(&mut chosen, index, HookReason::NoRedirect);
        }
        if chosen != interfaces {
            added.into_iter().filter(Added::is_xdp).for_each(Added::undo);
            done.retain(|done| !done.starts_with("attached xdp"));
            self.add_interfaces(&chosen)?;
        }
        let removed = attach::remove_unwanted(&there, &chosen);
        done.extend(removed.iter().filter_map(|path| {
            let name = path.file_name()?.to_string_lossy();
            Some(format!("removed {name}"))
        }));
        self.remove_interfaces(interfaces)?;
        self.record_buffers(&chosen)?;
        // An interface may have another role now, or none.
        self.ways_changed()?;
        Ok(done)
    }

    fn sweep(&mut self) -> Result<Swept, Error> {
        let now_ns = clock::now_ns();
        let ways = self.pinned.instance()?.ways;
        let mut ended = Vec::new();
        let mut next_hops = BTreeSet::new();
        self.pinned.each_outbound(|key, session| {
            if !session::live(session.deadline_ns, now_ns) {
                ended.push(*key);
            } else if session.hop.takes(ways, now_ns, 0) {
                let Hop { ifindex, mac, .. } = session.hop;
                next_hops.insert(NextHop { ifindex: ifindex.into(), mac });
            }
        })?;
        Ok(Swept { ended: run_on_keys(&self.ebpf, "sweep", &ended)?, next_hops })
    }

    fn forget_rested(&mut self) -> Result<bool, Error> {
        // While nothing rests, what did is kept: it goes on when it is switched on again.
        if self.cooldown()?.is_none_or(|settings| settings.enabled == 0) {
            return Ok(false);
        }
        let started = Instant::now();
        while started.elapsed() < FORGETTING_MAX {
            let last = run_often(&self.ebpf, "clear", &EMPTY_PACKET, CLEARS_A_CALL)?;
            if last < CLEAR_TUPLES_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ways_changed(&mut self) -> Result<(), Error> {
        let mut instance = self.pinned.instance()?;
        instance.ways = instance.ways.wrapping_add(1).max(1);
        instance.follows_ways = 1;
        let set = self.pinned.maps.instance.set(0, instance, 0);
        set.map_err(|error| Error::kernel("cannot record a change of ways")(error.into()))
    }

    fn record_controller(&mut self, pid: u32, now_ns: u64) -> Result<(), Error> {
        let mut instance = self.pinned.instance()?;
        instance.controller_pid = pid;
        instance.follows_ways &= u32::from(pid != 0);
        instance.heartbeat_ns = now_ns;
        self.pinned
            .maps
            .instance
            .set(0, instance, 0)
            .map_err(|error| Error::kernel("cannot record the controller")(error.into()))
    }
}

/// How long one sweep forgets what has rested: a fifth of the time between two sweeps.
const FORGETTING_MAX: Duration = Duration::from_millis(400);

/// Runs of `clear` at a time: the call costs more than the work of one.
const CLEARS_A_CALL: u32 = 16;

/// Removes sessions, live or not, by their outbound keys; returns how many. Beside a controller
/// that runs: the programs that remove sessions agree among themselves.
pub fn flush(pins: &Pins, keys: &[FlowKey]) -> Result<u32, Error> {
    let sizes = Pinned::open(pins, None)?.sizes()?;
    let ebpf = load::load(&mut load::loader(pins, sizes, LogLevel::Off))?;
    run_on_keys(&ebpf, "flush", keys)
}

/// Removes an instance: programs, maps and folder. Waits so long for others that are changing it.
/// `last_look` sees what the maps hold when no program works on them any more; not if nobody can read
/// them.
pub fn detach(
    pins: &Pins,
    namespace: Option<Namespace>,
    patience: Duration,
    last_look: impl FnOnce(Option<&Pinned>),
) -> Result<(), Error> {
    pins.expect()?;
    let lock = pins.lock(patience)?;
    // Whatever state its maps are in, it can be removed; only somebody else's must not be.
    let pinned = Maps::open(pins).map(|maps| Pinned { maps }).ok();
    if let Some(pinned) = &pinned {
        if let Some(namespace) = namespace {
            pinned.expect_namespace(pins, namespace)?;
        }
        remove_filters(pins, pinned)?;
    }
    pins.remove_links(&lock)?;
    last_look(pinned.as_ref());
    pins.remove(&lock)
}

/// Removes the programs of an instance that has no links.
fn remove_filters(pins: &Pins, pinned: &Pinned) -> Result<(), Error> {
    if pins.pinned_links().iter().any(|(_, hook)| *hook == Hook::TcEgress) {
        return Ok(());
    }
    // Filters are found by the names of interfaces, which mean something in their own namespace
    // only.
    let here = Namespace::current()
        .map_err(|error| Error::kernel("cannot read the namespace")(error.into()))?;
    pinned.expect_namespace(pins, here)?;
    for interface in pinned.interfaces()? {
        attach::detach_filters(&interface.name);
    }
    Ok(())
}
