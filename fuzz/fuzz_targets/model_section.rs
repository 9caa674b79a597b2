//! The section `[model]` of a run file of any text in; it is read, checked and counted.
#![no_main]

use idiolect_model::ModelConfig;
use idiolect_trainer::TrainerConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(config) = toml::from_str::<ModelConfig>(text)
        && config.validate().is_ok()
    {
        let _ = (config.parameter_count(), config.flops_per_token(1024), config.architecture());
    }
    let _ = toml::from_str::<TrainerConfig>(text);
});
