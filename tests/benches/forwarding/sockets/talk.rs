//! A client and a server, each kept on a CPU. What the client sends is forwarded on the client's, and
//! what the server answers on the server's: a veth's packet goes on where it was sent.
use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nat_tests::lab::{
    Lab,
    topology::{SERVER, SERVER2},
};
use nix::sys::{
    socket::{setsockopt, sockopt},
    time::TimeVal,
};

use crate::{cpu, rig::first_cpu};

const BULK: u16 = 9000;
const ECHO: u16 = 9001;
/// Short connections go to each of these in turn, at both addresses of the server, so that a client's
/// ports are not what limits them.
const SHORT: std::ops::Range<u16> = 9100..9116;

/// A peer that is silent for so long has failed.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of each measurement.
const SPAN: Duration = Duration::from_secs(1);
/// A stream grows its windows before it is measured.
const WARM: Duration = Duration::from_millis(200);
/// Bytes of one write.
const BLOCK: usize = 128 * 1024;
const PINGS: usize = 10_000;
const PINGS_BEFORE: usize = 500;
/// How soon a listener notices that no more will come.
const NOTICE: TimeVal = TimeVal::new(0, 50_000);

/// Microseconds from question to answer.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub median: f64,
    pub p99: f64,
}

/// The other CPU than the client's, where there is one.
fn server_cpu() -> usize {
    first_cpu().saturating_sub(1)
}

fn listen(lab: &Lab, port: u16) -> TcpListener {
    let listener = lab.server.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
    listener.expect("listen at the server")
}

fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// Runs both sides of one connection.
fn converse<T: Send>(
    lab: &Lab,
    port: u16,
    server: impl FnOnce(TcpStream) -> io::Result<T> + Send,
    client: impl FnOnce(TcpStream) -> io::Result<T> + Send,
) -> (T, T) {
    let listener = listen(lab, port);
    thread::scope(|scope| {
        let serving = scope.spawn(move || {
            cpu::pin(server_cpu());
            let (stream, _) = listener.accept()?;
            patient(&stream)?;
            server(stream)
        });
        let asked = lab.client.enter(|| {
            cpu::pin(first_cpu());
            let stream = TcpStream::connect_timeout(&(SERVER, port).into(), PATIENCE)
                .expect("connect through the gateway");
            patient(&stream)?;
            client(stream)
        });
        let served = serving.join().expect("a server");
        (served.expect("the server's side"), asked.expect("the client's side"))
    })
}

/// What arrives of one stream, in Mbit/s.
pub fn throughput(lab: &Lab) -> f64 {
    let receive = |mut stream: TcpStream| {
        let mut buffer = vec![0; 2 * BLOCK];
        let began = Instant::now();
        let (mut bytes, mut since) = (0_usize, None::<Instant>);
        loop {
            let read = stream.read(&mut buffer)?;
            let now = Instant::now();
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match since {
                Some(since) => {
                    bytes += read;
                    let span = now - since;
                    if span >= SPAN {
                        return Ok(bytes as f64 * 8.0 / span.as_secs_f64() / 1e6);
                    }
                }
                None if now - began >= WARM => since = Some(now),
                None => {}
            }
        }
    };
    let send = |mut stream: TcpStream| {
        let block = vec![0; BLOCK];
        // Until the server has seen enough and closes.
        while stream.write_all(&block).is_ok() {}
        Ok(0.0)
    };
    converse(lab, BULK, receive, send).0
}

/// One byte there and one back, again and again.
pub fn latency(lab: &Lab) -> Latency {
    let answer = |mut stream: TcpStream| {
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 {
            stream.write_all(&byte)?;
        }
        Ok(Vec::new())
    };
    let ask = |mut stream: TcpStream| {
        let mut took = Vec::with_capacity(PINGS);
        for number in 0..PINGS_BEFORE + PINGS {
            let began = Instant::now();
            stream.write_all(&[0])?;
            stream.read_exact(&mut [0])?;
            if number >= PINGS_BEFORE {
                took.push(began.elapsed());
            }
        }
        Ok(took)
    };
    let mut took = converse(lab, ECHO, answer, ask).1;
    took.sort_unstable();
    let micros = |index: usize| took.get(index).map_or(f64::NAN, |it| it.as_secs_f64() * 1e6);
    Latency { median: micros(PINGS / 2), p99: micros(PINGS * 99 / 100) }
}

/// Connections in a second, one after the other: opened, one byte there and one back, closed by the
/// client. And how many failed.
pub fn connections(lab: &Lab) -> (f64, u64) {
    let listeners: Vec<TcpListener> = SHORT.map(|port| listen(lab, port)).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for listener in &listeners {
            setsockopt(listener, sockopt::ReceiveTimeout, &NOTICE).expect("limit an accept");
            let over = &over;
            scope.spawn(move || {
                cpu::pin(server_cpu());
                while !over.load(Ordering::Relaxed) {
                    // What goes wrong here goes wrong at the client, which counts it.
                    let _ = listener.accept().and_then(|(stream, _)| serve(stream));
                }
            });
        }
        let outcome = lab.client.enter(|| {
            cpu::pin(first_cpu());
            let places = SHORT.flat_map(|port| [(SERVER, port), (SERVER2, port)]);
            let places: Vec<SocketAddr> =
                places.map(|(address, port)| SocketAddrV4::new(address, port).into()).collect();
            let (began, mut made, mut failed) = (Instant::now(), 0_u64, 0);
            for place in places.iter().cycle() {
                match once(place) {
                    Ok(()) => made += 1,
                    Err(error) => {
                        failed += 1;
                        eprintln!("a connection to {place}: {error}");
                    }
                }
                if began.elapsed() >= SPAN {
                    break;
                }
            }
            (made as f64 / began.elapsed().as_secs_f64(), failed)
        });
        over.store(true, Ordering::Relaxed);
        outcome
    })
}

fn once(place: &SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(place, PATIENCE)?;
    patient(&stream)?;
    stream.write_all(&[0])?;
    stream.read_exact(&mut [0])
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    patient(&stream)?;
    stream.read_exact(&mut [0])?;
    stream.write_all(&[0])?;
    // The client closes first, and so is the one that waits for stray segments.
    stream.read(&mut [0]).map(drop)
}
