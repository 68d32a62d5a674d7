//! The laboratory: client – gateway – server in anonymous network namespaces.
//!
//! Nothing in it outlives the process, not even after kill -9: namespaces and the bpffs are held by
//! file descriptors, children die with the thread that started them.
//!
//! | file | does |
//! |---|---|
//! | `netns` | a network namespace held by a descriptor |
//! | `topology` | the three or four hosts, their links, addresses and routes |
//! | `offloads` | what the links may leave to their peers |
//! | `bpffs` | a private place for pins |
//! | `nat_ctl` | the program under test |
//! | `masquerade` | the kernel's own NAT, to test the laboratory itself and to compare with |
//! | `sniffer` | what really went over a link |
//! | `leaks`, `checksums` | what the sniffer's frames must not and must show |
//! | `tuples` | which connections they show, and how soon a tuple was used again |
//! | `turnover` | whether ports came again too soon, or were refused although free |
//! | `wire` | one end of a link in the hands of a test |
//! | `stun` | how a NAT behaves (RFC 5780), by coturn |
//! | `traffic` | TCP, UDP, ping, raw frames |
//! | `process`, `wait`, `worker`, `pcap`, `packet_socket` | what those are made of |

pub mod bpffs;
pub mod checksums;
pub mod leaks;
pub mod masquerade;
pub mod nat_ctl;
pub mod netns;
pub mod offloads;
mod packet_socket;
pub mod pcap;
pub mod process;
pub mod sniffer;
pub mod stun;
pub mod topology;
pub mod traffic;
pub mod tuples;
pub mod turnover;
pub mod wait;
pub mod wire;
pub mod worker;

pub use bpffs::BpfFs;
pub use nat_ctl::{Controller, NatCtl};
pub use netns::NetNs;
pub use offloads::Offloads;
pub use sniffer::{Capture, Direction, Frame, Sniffer};
pub use topology::Lab;
pub use tuples::Tuples;
pub use wire::Wire;
