//! A folder of token shards in, whose sidecar or shard has any bytes; what it holds is read.
#![no_main]

use idiolect_dataset::{ShardConfig, ShardSet, ShardWriter, Tokens};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_sidecar, bytes) = input;
    idiolect_fuzz::with_folder(&[], |folder| {
        let folder = folder.join("shards");
        let hash = "0".repeat(64);
        let mut writer = ShardWriter::create(&folder, ShardConfig::new(hash, 100)).expect("new");
        writer.push(&[1, 2, 3], 9, &[]).expect("they fit");
        writer.finish(None).expect("it can be written");
        let changed = if is_sidecar { "shards.json" } else { "00000.tokens" };
        std::fs::write(folder.join(changed), bytes).expect("it can be written");
        let Ok(shards) = ShardSet::open(&folder) else { return };
        let _ = shards.ids(0..shards.token_count().min(1 << 20));
    });
});
