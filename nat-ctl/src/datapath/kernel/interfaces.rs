//! What the programs know of the interfaces.
use nat_common::{
    instance::{self, BUFFERS_TAKEN, Device, stored},
    limits::INTERFACES_MAX,
};

use super::{
    Attached,
    attach::{self, TcKind},
};
use crate::{
    datapath::{Error, Interface, State as _},
    hook, host,
};

impl Attached {
    /// Says whether frames in several buffers may be redirected.
    pub(super) fn record_buffers(&mut self, interfaces: &[Interface]) -> Result<(), Error> {
        let taken =
            host::xdp_features().is_some_and(|known| hook::takes_buffers(interfaces, &known));
        let mut instance = self.pinned.instance()?;
        instance.flags &= !BUFFERS_TAKEN;
        instance.flags |= if taken { BUFFERS_TAKEN } else { 0 };
        let set = self.pinned.maps.instance.set(0, instance, 0);
        set.map_err(|error| Error::kernel("cannot record the instance")(error.into()))
    }

    /// Roles are known before programs run that ask for them.
    pub(super) fn add_interfaces(&mut self, interfaces: &[Interface]) -> Result<(), Error> {
        for interface in interfaces {
            let entry = instance::Interface {
                // Names fit: the kernel limits them.
                name: stored(&interface.name).unwrap_or_default(),
                role: interface.role as u8,
                hook: interface.hook as u8,
                mac: interface.mac,
                because_of: interface.because_of,
                why: interface.why as u8,
                zero: [0; 3],
            };
            let map = &mut self.pinned.maps.interfaces;
            map.insert(interface.index, entry, 0)
                .map_err(|error| Error::kernel("cannot record an interface")(error.into()))?;
        }
        Ok(())
    }

    /// What XDP looks at for every packet: of the interfaces with a role, those whose places are free.
    pub(super) fn place_devices(&mut self, interfaces: &[Interface]) -> Result<(), Error> {
        let mut places = vec![Device::NONE; INTERFACES_MAX as usize];
        for interface in interfaces {
            let place = Device::place(interface.index) as usize;
            if let Some(device) = places.get_mut(place).filter(|device| device.ifindex == 0) {
                let Interface { index: ifindex, role, mac, .. } = *interface;
                *device = Device { ifindex, role: role as u8, zero: 0, mac };
            }
        }
        for (place, device) in (0..).zip(places) {
            let set = self.pinned.maps.devices.set(place, device, 0);
            set.map_err(|error| Error::kernel("cannot place an interface")(error.into()))?;
        }
        Ok(())
    }

    /// Forgets all interfaces but these.
    pub(super) fn remove_interfaces(&mut self, but: &[Interface]) -> Result<(), Error> {
        for gone in self.pinned.interfaces()? {
            if !but.iter().any(|interface| interface.index == gone.index) {
                if self.tc == TcKind::Clsact {
                    attach::detach_filters(&gone.name);
                }
                let map = &mut self.pinned.maps.interfaces;
                map.remove(&gone.index)
                    .map_err(|error| Error::kernel("cannot forget an interface")(error.into()))?;
            }
        }
        Ok(())
    }
}
