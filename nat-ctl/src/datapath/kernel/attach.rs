//! Programs ↔ interfaces.
use std::io;

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::{FdLink, Link},
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
    },
};
use nat_common::{
    instance::{HookMode, Role},
    stats::Hook,
};

use super::pins::Pins;
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

/// The hooks of an interface, in the order in which they are attached: nothing may be translated
/// out before replies can be translated back, and nothing redirected by XDP before TC guards the
/// way out.
pub fn hooks(role: Role, mode: HookMode) -> Vec<Hook> {
    match (role, mode) {
        (Role::Outside, HookMode::Tc) => vec![Hook::TcIngress, Hook::TcEgress],
        (Role::Outside, HookMode::Xdp) => vec![Hook::TcIngress, Hook::TcEgress, Hook::XdpOutside],
        (Role::Inside, HookMode::Tc) => vec![],
        (Role::Inside, HookMode::Xdp) => vec![Hook::XdpInside],
    }
}

/// Attaches one program and pins its link.
pub fn attach(
    ebpf: &mut Ebpf,
    pins: &Pins,
    interface: &Interface,
    hook: Hook,
    kind: TcKind,
) -> Result<(), Error> {
    let name = &interface.name;
    let failed = |cause: &dyn std::error::Error, help: Option<String>| Error::Attach {
        interface: name.clone(),
        hook: hook.name(),
        cause: chain(cause),
        help,
    };
    let program = ebpf.program_mut(hook.name()).ok_or(Error::NoObject)?;
    let link = match hook {
        Hook::XdpInside | Hook::XdpOutside => {
            let program: &mut Xdp =
                program.try_into().map_err(|error: ProgramError| failed(&error, None))?;
            let id = program.attach(name, XdpMode::Driver).map_err(|error| {
                let help = xdp_help(name, &error);
                failed(&error, Some(help))
            })?;
            let link = program.take_link(id).map_err(|error| failed(&error, None))?;
            // Where the kernel refuses a link, aya falls back to netlink, which cannot be pinned:
            // dropping it here detaches it.
            FdLink::try_from(link).map_err(|error| failed(&error, Some(no_native_xdp(name))))?
        }
        Hook::TcEgress | Hook::TcIngress => {
            let program: &mut SchedClassifier =
                program.try_into().map_err(|error: ProgramError| failed(&error, None))?;
            refuse_second_instance(name, hook)?;
            match attach_tc(program, name, hook, kind).map_err(|error| failed(&error, None))? {
                Some(link) => link,
                None => return Ok(()),
            }
        }
    };
    let path = pins.link(name, hook.name());
    // The pin holds the link from here on.
    link.pin(path).map_err(|error| failed(&error, None))?;
    Ok(())
}

/// Attaches a TC program; returns the link if there is one to be pinned.
fn attach_tc(
    program: &mut SchedClassifier,
    interface: &str,
    hook: Hook,
    kind: TcKind,
) -> Result<Option<FdLink>, ProgramError> {
    let options = match kind {
        TcKind::Tcx => TcAttachOptions::TcxOrder(LinkOrder::default()),
        TcKind::Clsact => {
            // It may be there already, ours or somebody's. If it could not be made, attaching to
            // it says so.
            let _ = qdisc_add_clsact(interface);
            TcAttachOptions::Netlink(NlOptions {
                priority: FILTER_PRIORITY,
                handle: FILTER_HANDLE,
                classid: None,
            })
        }
    };
    let id = program.attach_with_options(interface, attach_type(hook), options)?;
    let link = program.take_link(id)?;
    match kind {
        TcKind::Tcx => Ok(FdLink::try_from(link).ok()),
        TcKind::Clsact => {
            // Dropping it would remove the filter, which has to outlive this process.
            std::mem::forget(link);
            Ok(None)
        }
    }
}

/// Removes the clsact filters of an interface, if there are any. Links go with their pins.
pub fn detach_filters(interface: &str) -> io::Result<()> {
    for hook in [Hook::TcEgress, Hook::TcIngress] {
        let link = SchedClassifierLink::attached(
            interface,
            attach_type(hook),
            FILTER_PRIORITY,
            FILTER_HANDLE,
            None,
        )?;
        // An error says that there is none: links are the usual kind.
        let _ = link.detach();
    }
    Ok(())
}

const fn attach_type(hook: Hook) -> TcAttachType {
    match hook {
        Hook::TcEgress => TcAttachType::Egress,
        _ => TcAttachType::Ingress,
    }
}

/// Two instances on one interface would translate twice.
fn refuse_second_instance(interface: &str, hook: Hook) -> Result<(), Error> {
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
        "the driver of {interface} takes no native XDP program as it is set up (on veth: an MTU \
         above 3506 or segmentation offload at the peer); set hook = \"tc\""
    )
}
