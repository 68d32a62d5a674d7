//! Programs ↔ interfaces.
use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::{FdLink, Link},
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
        xdp::XdpLink,
    },
};
use nat_common::{
    instance::{HookMode, Role},
    stats::Hook,
};

use super::{link, pins::Pins};
use crate::datapath::{Error, Interface, error::chain};

/// How TC programs are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcKind {
    /// A link, from Linux 6.6 on: pinned, replaced in place, beside other programs.
    Tcx,
    /// A clsact filter, found again by its priority and handle.
    Clsact,
}

/// Where our clsact filters stand. Any fixed numbers do; these are unlikely to be somebody's.
const FILTER_PRIORITY: u16 = 0x6e61;
const FILTER_HANDLE: TcHandle = TcHandle::new(0, 0x6e61);

/// The order in which hooks are attached, over all interfaces: nothing may be translated out before
/// replies can be translated back, and nothing redirected by XDP before TC guards the way out.
pub const ATTACH_ORDER: [Hook; 5] =
    [Hook::TcIngress, Hook::TcEgress, Hook::TcInside, Hook::XdpOutside, Hook::XdpInside];

/// Whether an interface of this role and mode has a program at a hook.
pub fn wanted(role: Role, mode: HookMode, hook: Hook) -> bool {
    match hook {
        Hook::TcIngress | Hook::TcEgress => role == Role::Outside,
        Hook::TcInside => role == Role::Inside,
        Hook::XdpOutside => role == Role::Outside && mode == HookMode::Xdp,
        Hook::XdpInside => role == Role::Inside && mode == HookMode::Xdp,
    }
}

/// Whether a hook is XDP's.
pub const fn is_xdp(hook: Hook) -> bool {
    matches!(hook, Hook::XdpInside | Hook::XdpOutside)
}

/// A link that is pinned already.
pub struct Pinned {
    path: PathBuf,
    hook: Hook,
    /// 0 if the interface is gone.
    ifindex: u32,
}

/// The instance's pinned links.
pub fn pinned(pins: &Pins) -> Vec<Pinned> {
    let links = pins.pinned_links().into_iter().map(|(path, hook)| {
        let ifindex = link::interface_index(&path).unwrap_or(0);
        Pinned { path, hook, ifindex }
    });
    links.collect()
}

/// What had to be done to have the program at its hook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    /// Another version of the program was there: replaced in place, without a gap.
    Replaced,
    /// There was nothing.
    Attached(Added),
}

/// What can be taken back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Added {
    /// The pin of a new link.
    Pin(PathBuf, Hook),
    /// A clsact filter of this interface and hook.
    Filter(String, Hook),
}

impl Added {
    /// Whether it is XDP's.
    pub const fn is_xdp(&self) -> bool {
        matches!(self, Self::Pin(_, hook) if is_xdp(*hook))
    }

    /// Takes it back.
    pub fn undo(self) {
        match self {
            Self::Pin(path, hook) => drop(remove(&path, hook)),
            Self::Filter(interface, hook) => detach_filter(&interface, hook),
        }
    }
}

/// Has the program of `hook` run at `interface`, whatever is there of it. `known` says that the
/// instance had this interface before: a clsact filter there is its own.
pub fn ensure(
    ebpf: &mut Ebpf,
    pins: &Pins,
    there: &[Pinned],
    interface: &Interface,
    hook: Hook,
    kind: TcKind,
    known: bool,
) -> Result<Done, Error> {
    let failed = Failed { interface: &interface.name, hook };
    let path = pins.link(&interface.name, hook);
    let alive = there.iter().find(|pin| pin.hook == hook && pin.ifindex == interface.index);
    if let Some(pin) = alive
        && let Some(link) = link::open(&pin.path)
    {
        replace(ebpf, hook, link).map_err(|error| failed.with(&error))?;
        if pin.path != path {
            // The interface has been renamed.
            fs::rename(&pin.path, &path).map_err(|error| failed.with(&error))?;
        }
        return Ok(Done::Replaced);
    }
    // What is pinned here is the link of an interface that is gone.
    let _ = fs::remove_file(&path);
    match hook {
        Hook::XdpInside | Hook::XdpOutside => {
            let program = xdp(ebpf, hook).map_err(|error| failed.with(&error))?;
            let id = program
                .attach_to_if_index(interface.index, XdpMode::Driver)
                .map_err(|error| failed.help(&error, xdp_help(&interface.name, &error)))?;
            let link = program.take_link(id).map_err(|error| failed.with(&error))?;
            // Where the kernel refuses a link, aya falls back to netlink, which cannot be pinned:
            // dropping it here detaches it.
            let link = FdLink::try_from(link)
                .map_err(|error| failed.help(&error, no_native_xdp(&interface.name)))?;
            link.pin(&path).map_err(|error| failed.with(&error))?;
            Ok(Done::Attached(Added::Pin(path, hook)))
        }
        Hook::TcEgress | Hook::TcIngress | Hook::TcInside if kind == TcKind::Clsact => {
            attach_filter(ebpf, &interface.name, hook, known).map_err(|error| {
                let help = "if another instance of nat-ctl has a filter there, detach that";
                failed.help(&error, help.to_owned())
            })
        }
        Hook::TcEgress | Hook::TcIngress | Hook::TcInside => {
            refuse_second_instance(&interface.name, hook)?;
            let options = TcAttachOptions::TcxOrder(LinkOrder::default());
            let program = tc(ebpf, hook).map_err(|error| failed.with(&error))?;
            let id = program
                .attach_with_options(&interface.name, attach_type(hook), options)
                .map_err(|error| failed.with(&error))?;
            let link = program.take_link(id).map_err(|error| failed.with(&error))?;
            let link = FdLink::try_from(link).map_err(|error| failed.with(&error))?;
            link.pin(&path).map_err(|error| failed.with(&error))?;
            Ok(Done::Attached(Added::Pin(path, hook)))
        }
    }
}

/// Removes a pinned link; whether it was there.
fn remove(path: &Path, hook: Hook) -> bool {
    if is_xdp(hook) {
        // If it fails, removing the pin does the same a little later.
        let _ = link::detach(path);
    }
    fs::remove_file(path).is_ok()
}

/// Removes the links that no interface wants, XDP's first.
pub fn remove_unwanted(there: &[Pinned], interfaces: &[Interface]) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    for hook in ATTACH_ORDER.into_iter().rev() {
        for pin in there.iter().filter(|pin| pin.hook == hook) {
            let still_wanted = interfaces.iter().any(|interface| {
                interface.index == pin.ifindex && wanted(interface.role, interface.hook, hook)
            });
            if !still_wanted && remove(&pin.path, hook) {
                removed.push(pin.path.clone());
            }
        }
    }
    removed
}

/// Removes the clsact filters of an interface, if there are any. Links go with their pins.
pub fn detach_filters(interface: &str) {
    // An inside interface has its one at the same place as an outside one.
    for hook in [Hook::TcEgress, Hook::TcIngress] {
        detach_filter(interface, hook);
    }
}

fn detach_filter(interface: &str, hook: Hook) {
    if let Ok(link) = filter(interface, hook) {
        // An error says that there is none: links are the usual kind.
        let _ = link.detach();
    }
}

fn filter(interface: &str, hook: Hook) -> std::io::Result<SchedClassifierLink> {
    let kind = attach_type(hook);
    SchedClassifierLink::attached(interface, kind, FILTER_PRIORITY, FILTER_HANDLE, None)
}

fn attach_filter(
    ebpf: &mut Ebpf,
    interface: &str,
    hook: Hook,
    known: bool,
) -> Result<Done, ProgramError> {
    let program = tc(ebpf, hook)?;
    let replaced = match filter(interface, hook) {
        Ok(there) if known => program.attach_to_link(there).ok(),
        _ => None,
    };
    let (id, done) = match replaced {
        Some(id) => (id, Done::Replaced),
        None => {
            // It may be there already, ours or somebody's. If it could not be made, attaching to
            // it says so.
            let _ = qdisc_add_clsact(interface);
            let options = TcAttachOptions::Netlink(NlOptions {
                priority: FILTER_PRIORITY,
                handle: FILTER_HANDLE,
                classid: None,
            });
            let id = program.attach_with_options(interface, attach_type(hook), options)?;
            (id, Done::Attached(Added::Filter(interface.to_owned(), hook)))
        }
    };
    // Dropping the link would remove the filter, which has to outlive this process.
    std::mem::forget(program.take_link(id)?);
    Ok(done)
}

/// Puts this object's program into a link that is attached already.
fn replace(ebpf: &mut Ebpf, hook: Hook, link: FdLink) -> Result<(), ProgramError> {
    match hook {
        Hook::XdpInside | Hook::XdpOutside => {
            let link = XdpLink::try_from(link).map_err(|_| ProgramError::NotAttached)?;
            let program = xdp(ebpf, hook)?;
            let id = program.attach_to_link(link)?;
            // Owned by the pin: our reference may go.
            program.take_link(id).map(drop)
        }
        Hook::TcEgress | Hook::TcIngress | Hook::TcInside => {
            let link =
                SchedClassifierLink::try_from(link).map_err(|_| ProgramError::NotAttached)?;
            let program = tc(ebpf, hook)?;
            let id = program.attach_to_link(link)?;
            program.take_link(id).map(drop)
        }
    }
}

fn xdp(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut Xdp, ProgramError> {
    ebpf.program_mut(hook.name()).ok_or(ProgramError::NotLoaded)?.try_into()
}

fn tc(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut SchedClassifier, ProgramError> {
    ebpf.program_mut(hook.name()).ok_or(ProgramError::NotLoaded)?.try_into()
}

const fn attach_type(hook: Hook) -> TcAttachType {
    match hook {
        Hook::TcEgress => TcAttachType::Egress,
        _ => TcAttachType::Ingress,
    }
}

/// What could not be attached.
struct Failed<'a> {
    interface: &'a str,
    hook: Hook,
}

impl Failed<'_> {
    fn with(&self, cause: &dyn std::error::Error) -> Error {
        self.error(chain(cause), None)
    }

    fn help(&self, cause: &dyn std::error::Error, help: String) -> Error {
        self.error(chain(cause), Some(help))
    }

    fn error(&self, cause: String, help: Option<String>) -> Error {
        Error::Attach { interface: self.interface.to_owned(), hook: self.hook.name(), cause, help }
    }
}

/// Two instances on one outside interface would translate twice. Clients may have the choice of two.
fn refuse_second_instance(interface: &str, hook: Hook) -> Result<(), Error> {
    if hook == Hook::TcInside {
        return Ok(());
    }
    let Ok((_, programs)) = SchedClassifier::query_tcx(interface, attach_type(hook)) else {
        // Linux before 6.6 cannot be asked; there the filter's fixed place is taken.
        return Ok(());
    };
    if !programs.iter().any(|program| program.name_as_str() == Some(hook.name())) {
        return Ok(());
    }
    Err(Error::Attach {
        interface: interface.to_owned(),
        hook: hook.name(),
        cause: "another instance of nat-ctl is attached there".to_owned(),
        help: Some("detach it: `nat-ctl --instance NAME detach`".to_owned()),
    })
}

fn xdp_help(interface: &str, error: &ProgramError) -> String {
    let ProgramError::SyscallError(error) = error else {
        return no_native_xdp(interface);
    };
    match error.io_error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => format!(
            "another XDP program is attached: `ip link show dev {interface}` names it, `ip link \
             set dev {interface} xdp off` removes it; or set hook = \"tc\""
        ),
        _ => no_native_xdp(interface),
    }
}

fn no_native_xdp(interface: &str) -> String {
    format!(
        "the driver of {interface} takes no native XDP program as it is set up: its MTU may be too \
         large (`ip link set {interface} mtu 1500`), or its queues too few (`ethtool -L`; of a veth, \
         fewer to receive than its peer has to send); or set hook = \"tc\""
    )
}
