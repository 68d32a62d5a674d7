//! Numbers for people: short, with the unit, and never suggesting more than is known.

/// Seconds in the two largest units: `29s`, `1h59m`, `2d`. Rounded down.
pub fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut text = String::new();
    let first = UNITS.iter().position(|(size, _)| seconds >= *size).unwrap_or(3);
    for (size, unit) in UNITS.iter().skip(first).take(2) {
        let count = rest / size;
        rest %= size;
        // Not `2d0h`, but `0s`.
        if count > 0 || text.is_empty() {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

/// A count or a number of bytes with three digits at most: `999`, `2.1K`, `31K`, `18E`. Powers of
/// 1000; rounded to the nearest.
pub fn count(number: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if number < 1000 {
        return number.to_string();
    }
    let mut size: u128 = 1000;
    let mut unit = 0;
    let number = u128::from(number);
    // 999.5K is 1.0M already.
    while unit + 1 < UNITS.len() && number * 2 >= size * 1999 {
        size *= 1000;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    let tenths = (number * 10 + size / 2) / size;
    if tenths < 100 {
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    } else {
        format!("{}{name}", (number + size / 2) / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0, "0s"),
            (29, "29s"),
            (60, "1m"),
            (61, "1m1s"),
            (7199, "1h59m"),
            (7200, "2h"),
            (7230, "2h"),
            (86_399, "23h59m"),
            (90_000, "1d1h"),
            (2_592_000, "30d"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn counts() {
        for (number, text) in [
            (0, "0"),
            (74, "74"),
            (999, "999"),
            (1000, "1.0K"),
            (2100, "2.1K"),
            (9949, "9.9K"),
            (9950, "10K"),
            (31_000, "31K"),
            (999_499, "999K"),
            (999_500, "1.0M"),
            (1_000_000_000, "1.0G"),
            (u64::MAX, "18E"),
        ] {
            assert_eq!(count(number), text);
        }
    }
}
