'use strict';

// How the server's processes end: on SIGINT, on SIGTERM, and when the process that started them has gone away.
// A process manager kills 1.6 s after its signal; we are out by ourselves before that, whatever hangs.

const GIVE_UP_MS = 1200;

/** Calls `clean` once when the process is asked to stop, then exits (with 0 unless process.exitCode says otherwise). */
function onStop(clean, withinMs = GIVE_UP_MS) {
  let stopping = false;
  const stop = async () => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(), withinMs).unref();
    try {
      await clean();
    } catch (error) {
      console.error(`While stopping: ${error.message}`);
    }
    process.exit();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  // Started by demo.js there is a channel to it; it closes when demo.js dies, even by kill -9.
  if (process.channel) {
    process.on('disconnect', stop);
    process.channel.unref();
  }
  return stop;
}

module.exports = { onStop };
