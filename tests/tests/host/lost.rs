//! Announcements that are lost: nothing but a fresh look helps.
use std::fmt::Write as _;

use nat_ctl::host::{Network, Watch};

use crate::machine::{Live, Machine};

/// Far more than a small buffer holds.
const ROUTES: u32 = 4000;

fn batch(verb: &str) -> String {
    (0..ROUTES).fold(String::new(), |mut batch, number| {
        let (high, low) = (number >> 8, number & 0xff);
        writeln!(batch, "route {verb} 198.18.{high}.{low}/32 via 192.0.2.254").unwrap();
        batch
    })
}

#[test]
fn after_a_loss_everything_is_read_again() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::with(Watch::with_room(16 << 10).unwrap()).await;
        let before = live.routes();
        machine.ip(&batch("add"));
        let changes = live.watch.changes().await.unwrap();
        assert!(changes.len() < 1000, "{} announcements found room", changes.len());
        let delta = live.network.follow(&mut live.watch, &changes).await.unwrap();
        assert_eq!((delta.routes.added.len(), delta.routes.removed.len()), (ROUTES as usize, 0));
        assert_eq!(live.network, Network::read().await.unwrap());

        // The kernel says once that it has lost something; it must do so again.
        machine.ip(&batch("del"));
        let changes = live.watch.changes().await.unwrap();
        live.network.follow(&mut live.watch, &changes).await.unwrap();
        assert_eq!(live.network, Network::read().await.unwrap());
        assert_eq!(live.network.routes.iter().collect::<Vec<_>>(), before);

        // And single changes are followed as before.
        machine.ip("route add default via 192.0.2.254");
        let delta = live.follow().await;
        assert_eq!((delta.routes.added.len(), delta.routes.removed.len()), (1, 0));
    });
}

#[test]
fn with_the_usual_room_thousands_of_routes_are_followed() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        machine.ip(&batch("add"));
        let changes = live.watch.changes().await.unwrap();
        assert_eq!(changes.len(), ROUTES as usize);
        live.network.follow(&mut live.watch, &changes).await.unwrap();
        assert_eq!(live.network, Network::read().await.unwrap());
    });
}
