//! The kernel's own NAT in the gateway: proves that the laboratory itself works, and is what
//! nat-ctl is compared with.

use super::{process::tool_with_input, topology::Lab};

impl Lab {
    /// Masquerades what clients send out of `wan0`.
    pub fn masquerade(&self) {
        let rules = "table ip lab {\n\
                     chain nat { type nat hook postrouting priority srcnat;\n\
                     ip saddr 10.0.0.0/8 oifname \"wan0\" masquerade\n}\n}\n";
        tool_with_input(&self.gateway, "nft", &["-f", "-"], rules);
    }
}
