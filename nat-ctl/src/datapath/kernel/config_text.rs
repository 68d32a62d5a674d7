//! The text of a configuration ↔ maps, by slot.
use aya::maps::MapError;
use nat_common::{
    instance::{CONFIG_NAME_BYTES, ConfigChunk, ConfigInfo, text},
    limits::{CONFIG_CHUNK_BYTES, CONFIG_CHUNKS_MAX},
    settings::slot,
};

use super::maps::Maps;
use crate::datapath::{ConfigText, Error};

/// The longest text.
const BYTES_MAX: usize = CONFIG_CHUNK_BYTES * CONFIG_CHUNKS_MAX as usize;

/// Refuses a text that does not fit, before anything is written.
pub fn check(config: &ConfigText) -> Result<(), Error> {
    let bytes = config.text.len();
    if bytes > BYTES_MAX { Err(Error::ConfigTooLong { bytes, max: BYTES_MAX }) } else { Ok(()) }
}

/// Writes the text of the configuration of `generation`.
pub fn write(maps: &mut Maps, config: &ConfigText, generation: u32) -> Result<(), MapError> {
    let chunks = config.text.as_bytes().chunks(CONFIG_CHUNK_BYTES);
    for (index, bytes) in (0..CONFIG_CHUNKS_MAX).zip(chunks) {
        let mut chunk = ConfigChunk([0; CONFIG_CHUNK_BYTES]);
        chunk.0.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        maps.config.set(slot(generation) * CONFIG_CHUNKS_MAX + index, chunk, 0)?;
    }
    let mut info = ConfigInfo { bytes: config.text.len() as u32, name: [0; CONFIG_NAME_BYTES] };
    // The last byte stays zero: the end of a name that is too long.
    let end = info.name.len() - 1;
    let name = info.name.iter_mut().take(end).zip(config.name.as_bytes());
    name.for_each(|(to, from)| *to = *from);
    maps.config_info.set(slot(generation), info, 0)
}

/// Reads the text of the configuration of `generation`.
pub fn read(maps: &Maps, generation: u32) -> Result<Option<ConfigText>, MapError> {
    if generation == 0 {
        return Ok(None);
    }
    let info = maps.config_info.get(&slot(generation), 0)?;
    let length = (info.bytes as usize).min(BYTES_MAX);
    let mut bytes = Vec::with_capacity(length + CONFIG_CHUNK_BYTES);
    for index in 0..length.div_ceil(CONFIG_CHUNK_BYTES) as u32 {
        let index = slot(generation) * CONFIG_CHUNKS_MAX + index;
        bytes.extend_from_slice(&maps.config.get(&index, 0)?.0);
    }
    bytes.truncate(length);
    let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Some(ConfigText { name: text(&info.name).to_owned(), text: text_of(&bytes) }))
}
