//! Checksums, judged by tcpdump: code that has nothing to do with the code under test.

use std::{fmt, fs::File, path::Path, process::Command, time::Duration};

use super::{pcap, process::run_from, sniffer::Frame};

const TCPDUMP_LIMIT: Duration = Duration::from_secs(60);

/// What tcpdump said.
#[derive(Debug)]
#[must_use]
pub struct Checksums {
    /// Packets whose transport checksum (TCP, UDP, ICMP) and IPv4 header checksum are right.
    pub correct: usize,
    /// tcpdump's description of each packet with a wrong one, in the packet itself or in one that an
    /// ICMP error quotes.
    pub wrong: Vec<String>,
}

impl Checksums {
    /// Panics unless none is wrong and at least one was really checked; returns how many were.
    #[track_caller]
    pub fn assert_correct(&self) -> usize {
        assert!(self.wrong.is_empty(), "{self}");
        assert!(self.correct > 0, "no packet with a checksum to check");
        self.correct
    }
}

impl fmt::Display for Checksums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} correct, {} wrong", self.correct, self.wrong.len())?;
        self.wrong.iter().take(10).try_for_each(|packet| write!(f, "\n{packet}"))
    }
}

/// Checks frames. Panics if there is one whose checksum is still to be computed: then offloads are
/// on where they must be off, or the capture was made at the sender.
pub fn check<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Checksums {
    let frames: Vec<_> = frames.into_iter().collect();
    let pending = frames.iter().filter(|frame| frame.checksum_pending).count();
    assert_eq!(pending, 0, "{pending} of {} frames have no checksum yet", frames.len());
    let file = tempfile::NamedTempFile::new().expect("create a temporary file");
    pcap::write(file.path(), frames);
    check_pcap(file.path())
}

/// Checks a pcap file.
pub fn check_pcap(path: &Path) -> Checksums {
    // By standard input, because tcpdump gives up root and may then not be allowed to read the file.
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args(["-r", "-", "-nn", "-vv", "-tt"]).env("LC_ALL", "C");
    judge(&run_from(&mut tcpdump, file, TCPDUMP_LIMIT).ok())
}

fn judge(text: &str) -> Checksums {
    let mut checksums = Checksums { correct: 0, wrong: Vec::new() };
    let mut packet = String::new();
    let mut finish = |packet: &mut String| {
        match verdict(packet) {
            Some(true) => checksums.correct += 1,
            Some(false) => checksums.wrong.push(packet.trim_end().to_owned()),
            None => {}
        }
        packet.clear();
    };
    for line in text.lines() {
        // Only a packet's first line begins at the margin.
        if !line.starts_with(char::is_whitespace) {
            finish(&mut packet);
        }
        packet.push_str(line);
        packet.push('\n');
    }
    finish(&mut packet);
    checksums
}

/// Whether a packet's checksums are right, from tcpdump's lines about it; `None` if it has none that
/// tcpdump looks at.
fn verdict(packet: &str) -> Option<bool> {
    // TCP: "cksum 0x1 (incorrect -> 0x2)", UDP: "[bad udp cksum 0x1 -> 0x2!]", IPv4:
    // "bad cksum 1 (->2)!", ICMP: "(wrong icmp cksum 1 (->2)!)". Its word for the contents of a
    // name server's answer may be "bad", so "cksum" has to follow.
    let bad = |line: &str| {
        line.contains("incorrect")
            || ["bad", "wrong"].iter().any(|word| {
                line.match_indices(word).any(|(at, _)| {
                    line[at..].split(' ').skip(1).take(2).any(|next| next == "cksum")
                })
            })
    };
    if packet.lines().any(bad) {
        return Some(false);
    }
    // A right ICMP checksum is not mentioned, but is looked at in every packet that is no fragment.
    let fragment =
        !packet.contains(" offset 0, flags [none]") && !packet.contains(" offset 0, flags [DF]");
    let good = packet.contains("(correct)")
        || packet.contains("sum ok]")
        || (packet.contains(": ICMP ") && !fragment);
    good.then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "1.0 IP (tos 0x0, ttl 63, id 1, offset 0, flags [DF], proto TCP (6), length 60)\n    \
                       203.0.113.1.1024 > 203.0.113.10.80: Flags [S], cksum 0x1 (correct), seq 1, length 0\n";
    const UDP: &str = "1.1 IP (tos 0x0, ttl 63, id 1, offset 0, flags [DF], proto UDP (17), length 33)\n    \
                       203.0.113.1.1024 > 203.0.113.10.7: [udp sum ok] UDP, length 5\n";
    const ICMP: &str = "1.2 IP (tos 0x0, ttl 63, id 1, offset 0, flags [DF], proto ICMP (1), length 84)\n    \
                        203.0.113.1 > 203.0.113.10: ICMP echo request, id 1, seq 1, length 64\n";
    const ARP: &str =
        "1.3 ARP, Ethernet (len 6), IPv4 (len 4), Request who-has 10.0.0.1, length 28\n";

    #[test]
    fn right_ones_are_counted() {
        let all = judge(&format!("{TCP}{UDP}{ARP}{ICMP}"));
        assert_eq!((all.correct, all.wrong.len()), (3, 0), "{all}");
    }

    #[test]
    fn wrong_ones_are_found() {
        for (right, text, wrong) in [
            (TCP, "(correct)", "(incorrect -> 0x2)"),
            (TCP, "length 60)", "length 60, bad cksum 1 (->2)!)"),
            (UDP, "[udp sum ok]", "[bad udp cksum 0x1 -> 0x2!]"),
            (ICMP, "length 64", "length 64 (wrong icmp cksum 1 (->2)!)"),
        ] {
            assert!(right.contains(text));
            let all = judge(&format!("{TCP}{}{UDP}", right.replace(text, wrong)));
            assert_eq!((all.correct, all.wrong.len()), (2, 1), "{wrong}: {all}");
        }
    }

    #[test]
    fn fragments_are_not_counted() {
        let first = ICMP.replace("flags [DF]", "flags [+]");
        let second = ICMP.replace("offset 0", "offset 1480").replace("echo request", "ip-proto-1");
        assert_eq!(judge(&format!("{first}{second}")).correct, 0);
    }
}
