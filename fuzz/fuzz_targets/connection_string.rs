//! Any text as a connection string: no panic, and one that is understood is understood again when it is shown.

#![no_main]

use db_pool::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(target) = text.parse::<Target>() {
        let masked = target.masked();
        let again: Target = masked.parse().expect("a masked one is one");
        assert_eq!(again.masked(), masked);
    }
});
