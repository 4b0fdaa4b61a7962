'use strict';

const { setTimeout } = require('node:timers');

/** Emits an event. A listener that throws must not harm who tells; its error is uncaught all the same. */
function tell(emitter, name, ...told) {
  try {
    emitter.emit(name, ...told);
  } catch (error) {
    setTimeout(() => {
      throw error;
    }, 0);
  }
}

module.exports = { tell };
