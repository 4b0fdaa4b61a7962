'use strict';

// Finds and loads the compiled addon: the file that CANDLESTORE_NATIVE_PATH names, or the one that the generated
// loader picks for this platform. Says in one sentence what to do when there is none.

function load() {
  const path = process.env.CANDLESTORE_NATIVE_PATH;
  if (path) {
    try {
      return require(path);
    } catch (cause) {
      throw new Error(
        `candlestore: cannot load ${path}, which CANDLESTORE_NATIVE_PATH names: ${cause.message}`,
        {
          cause,
        },
      );
    }
  }
  try {
    return require('./binding.js');
  } catch (cause) {
    throw new Error(
      `candlestore: there is no compiled addon for ${process.platform}-${process.arch}; ` +
        'run "npm rebuild candlestore" to build it (needs Rust, https://rustup.rs)',
      { cause },
    );
  }
}

module.exports = load();
