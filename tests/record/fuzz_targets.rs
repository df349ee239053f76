//! The fuzz targets on their seeds and on mutations of these.
//!
//! `ANNALS_FUZZ_MUTATIONS=100000` makes more of each target, `ANNALS_FUZZ_SEEDS=17` others.
//! `ANNALS_CORPUS=dir` writes the seeds there, in a folder for each target.

use std::panic::{AssertUnwindSafe, catch_unwind};
use support::targets::seeds::{mutate, of};
use support::{Chance, seeds};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn targets_accept_seeds_and_mutations() {
    let mutations = number("ANNALS_FUZZ_MUTATIONS", 100);
    for seed in seeds("ANNALS_FUZZ_SEEDS", 1) {
        for (name, target) in support::targets::ALL {
            let inputs = of(name);
            assert!(!inputs.is_empty(), "{name} has no seeds");
            inputs.iter().for_each(|input| target(input));
            let mut chance = Chance(seed);
            for number in 0..mutations {
                let input = &inputs[chance.below(inputs.len() as u64) as usize];
                let input = mutate(input, &mut chance);
                let run = catch_unwind(AssertUnwindSafe(|| target(&input)));
                assert!(
                    run.is_ok(),
                    "{name}, ANNALS_FUZZ_SEEDS={seed}, mutation {number}: {input:?}"
                );
            }
        }
    }
}

#[test]
fn seeds_are_small_and_written_out() {
    let mut total = 0;
    for (name, _) in support::targets::ALL {
        let inputs = of(name);
        total += inputs.iter().map(Vec::len).sum::<usize>();
        let Ok(corpus) = std::env::var("ANNALS_CORPUS") else { continue };
        let folder = std::path::Path::new(&corpus).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, input) in inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:03}")), input).unwrap();
        }
    }
    assert!(total < 300 << 10, "{total} bytes");
}
