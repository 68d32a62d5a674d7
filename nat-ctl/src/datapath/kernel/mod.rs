//! The data path in the kernel. The only module that imports aya.
pub mod attach;
mod batch;
pub mod load;
pub mod maps;
pub mod pins;
mod state;
pub mod table;

use std::path::Path;

use aya::{
    Ebpf,
    maps::MapError,
    programs::{TestRun, TestRunOptions, Xdp},
};
use aya_log::EbpfLogger;
use nat_common::{
    flow::FlowKey,
    instance::{self, Instance, stored},
    limits::SWEEP_SESSIONS_MAX,
    session,
};
use tokio::io::{Interest, unix::AsyncFd};

use self::{attach::TcKind, load::LogLevel, maps::Maps, pins::Pins};
use super::{Datapath, Error, Interface, State, error::AnyError};
use crate::{clock, compile::RuleTable, host::Namespace};

/// What [`attach`] needs to know.
pub struct Plan<'a> {
    pub pins: Pins,
    pub namespace: Namespace,
    pub interfaces: Vec<Interface>,
    pub tc: TcKind,
    pub max_sessions: u32,
    pub log: LogLevel,
    pub table: &'a RuleTable,
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
        let record = pinned.instance()?;
        match namespace {
            Some(namespace) if namespace != Namespace::of(&record) => {
                Err(Error::OtherNamespace { instance: pins.instance().to_owned() })
            }
            _ => Ok(pinned),
        }
    }
}

/// An attached data path in the hands of its controller.
pub struct Attached {
    pinned: Pinned,
    ebpf: Ebpf,
}

/// Loads the data path, fills its maps and attaches it. On an error nothing stays attached, and
/// nothing pinned.
pub fn attach(plan: &Plan<'_>) -> Result<Attached, Error> {
    plan.pins.create()?;
    let attached = attach_created(plan);
    if attached.is_err() {
        for interface in &plan.interfaces {
            let _ = attach::detach_filters(&interface.name);
        }
        let _ = plan.pins.remove();
    }
    attached
}

fn attach_created(plan: &Plan<'_>) -> Result<Attached, Error> {
    let mut ebpf = load::load(&mut load::loader(&plan.pins, plan.max_sessions, plan.log))?;
    let mut maps = Maps::open(&plan.pins)?;
    record(&mut maps, plan)
        .map_err(|error| Error::kernel("cannot record the instance")(error.into()))?;
    // Rules before programs: an attached program without rules drops everything.
    table::apply(&mut maps, plan.table)?;
    for interface in &plan.interfaces {
        for hook in attach::hooks(interface.role, interface.hook) {
            attach::attach(&mut ebpf, &plan.pins, interface, hook, plan.tc)?;
        }
    }
    Ok(Attached { pinned: Pinned { maps }, ebpf })
}

fn record(maps: &mut Maps, plan: &Plan<'_>) -> Result<(), MapError> {
    let instance = Instance {
        netns_device: plan.namespace.device,
        netns_inode: plan.namespace.inode,
        attached_ns: clock::now_ns(),
        heartbeat_ns: 0,
        max_sessions: plan.max_sessions,
        controller_pid: 0,
    };
    maps.instance.set(0, instance, 0)?;
    for interface in &plan.interfaces {
        let entry = instance::Interface {
            // Names fit: the kernel limits them.
            name: stored(&interface.name).unwrap_or_default(),
            role: interface.role as u8,
            hook: interface.hook as u8,
            zero: [0; 2],
        };
        maps.interfaces.insert(interface.index, entry, 0)?;
    }
    Ok(())
}

/// Removes an instance: programs, maps and folder.
pub fn detach(bpffs: &Path, instance: &str, namespace: Option<Namespace>) -> Result<(), Error> {
    let pins = Pins::new(bpffs, instance)?;
    let pinned = Pinned::open(&pins, namespace)?;
    for interface in pinned.interfaces()? {
        // Filters of an interface that is gone went with it.
        let _ = attach::detach_filters(&interface.name);
    }
    pins.remove().map_err(|error| Error::kernel("cannot remove the pins")(error.into()))
}

impl Datapath for Attached {
    fn apply(&mut self, table: &RuleTable) -> Result<(), Error> {
        table::apply(&mut self.pinned.maps, table)
    }

    fn sweep(&mut self) -> Result<u32, Error> {
        let now_ns = clock::now_ns();
        let mut ended = Vec::new();
        self.pinned.each_outbound(|key, session| {
            if !session::live(session.deadline_ns, now_ns) {
                ended.push(*key);
            }
        })?;
        let sweeping =
            |error: aya::programs::ProgramError| Error::kernel("cannot sweep")(error.into());
        let program: &Xdp =
            self.ebpf.program("sweep").ok_or(Error::NoObject)?.try_into().map_err(sweeping)?;
        let mut swept = 0;
        for keys in ended.chunks(SWEEP_SESSIONS_MAX as usize) {
            let packet = sweep_packet(keys);
            let mut options = TestRunOptions::new();
            options.data_in = Some(&packet);
            swept += program.test_run(options).map_err(sweeping)?.return_value;
        }
        Ok(swept)
    }

    fn record_controller(&mut self, pid: u32, now_ns: u64) -> Result<(), Error> {
        let mut instance = self.pinned.instance()?;
        instance.controller_pid = pid;
        instance.heartbeat_ns = now_ns;
        self.pinned
            .maps
            .instance
            .set(0, instance, 0)
            .map_err(|error| Error::kernel("cannot record the controller")(error.into()))
    }
}

impl Attached {
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

/// The keys as the packet that the `sweep` program reads.
fn sweep_packet(keys: &[FlowKey]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(size_of_val(keys));
    for key in keys {
        packet.extend_from_slice(&key.to_bytes());
    }
    packet
}
