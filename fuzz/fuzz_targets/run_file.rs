//! A run file of any text in; its sections for data and tokenizers are read and checked.
#![no_main]

use idiolect_dataset::DataConfig;
use idiolect_tokenizer::TrainConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(table) = text.parse::<toml::Table>() else { return };
    let section = |name: &str| table.get(name).cloned();
    if let Some(Ok(config)) = section("data").map(|value| value.try_into::<DataConfig>()) {
        let _ = config.validate();
    }
    if let Some(Ok(config)) = section("tokenizer").map(|value| value.try_into::<TrainConfig>()) {
        let _ = config.validate();
    }
});
