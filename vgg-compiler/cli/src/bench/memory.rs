//! How much memory this process has used.

/// The largest resident set of the process so far, in bytes. Only Linux tells.
pub(super) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse(&status)
}

/// Forgets what was used until now, as far as the system lets a process do so.
pub(super) fn reset_peak() {
    // What was used before stays part of the peak where this is refused: too much is reported, never too little.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// `VmHWM` of the text of /proc/PID/status, which has it in kB of 1024 bytes.
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read() {
        assert_eq!(parse("Name:\tvgg\nVmPeak:\t  9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        for wrong in ["", "VmHWM:", "VmHWM:\t-1 kB", "VmHWM:\t1 MB", "VmHWM: 99999999999999999999 kB"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_one() {
        assert!(peak().unwrap() > 1 << 20);
    }
}
