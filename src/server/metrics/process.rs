//! The metrics of the process, by the names that Prometheus' own libraries give them, and of the build.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::page::Page;

/// Ticks per second in files of `/proc`: `USER_HZ`, which is 100 on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process as `/proc` has it; nothing is told where there is none.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page(encoder);
        let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
        if let Some(resident) = resident_bytes() {
            page.gauge(
                "process_resident_memory",
                "Resident memory",
                bytes,
                resident,
            )?;
        }
        if let Some((cpu, started)) = times() {
            page.counter("process_cpu", "User and system CPU time", seconds, cpu)?;
            let help = "When the process began, in seconds since 1970";
            page.gauge("process_start_time", help, seconds, started)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory itself.
            let open = (open.count() as u64).saturating_sub(1);
            page.gauge("process_open_fds", "Open file descriptors", None, open)?;
        }
        if let Some(most) = fds_max() {
            let help = "The most file descriptors that may be open";
            page.gauge("process_max_fds", help, None, most)?;
        }
        let version = [[env!("CARGO_PKG_VERSION").to_string()]];
        let built = version.into_iter().map(|version| (version, 1));
        page.gauges("shelfmark_build_info", "The version", ["version"], built)
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes << 10)
}

/// Seconds of CPU time, and the second since 1970 when the process began.
fn times() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may have blanks: fields are counted behind it, from the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let cpu = (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let booted = system.lines().find_map(|l| l.strip_prefix("btime "))?;
    let booted: f64 = booted.trim().parse().ok()?;
    Some((cpu, booted + ticks(22)? / TICKS_PER_SECOND))
}

fn fds_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_process_knows_itself() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(fds_max().unwrap() > 2);
        let (cpu, started) = times().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(cpu < 1e6);
        assert!((now.as_secs_f64() - started).abs() < 86_400.0);
    }
}
