//! Traffic as real hosts make it, and frames that no host would send.

mod http;
mod ping;
mod raw;
mod tcp;
mod udp;

pub use http::{Download, HttpServer, download};
pub use ping::{Ping, PingReport};
pub use raw::{RawSender, ethernet, internet_checksum, ipv4};
pub use tcp::connect as tcp_connect;
pub use udp::{UdpClient, UdpEcho};
