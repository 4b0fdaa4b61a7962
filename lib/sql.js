'use strict';

// What can be told of a text of SQL by looking at its begin. No regular expression skips the comments: one that may end
// a comment in more than one place takes exponential time on a row of them.

const SPACE = /[\s;]/;
const LETTERS = /[a-z]*/iy;
const TRANSACTION = /\s+transaction\b/iy;

/** The place behind white space, semicolons and comments. */
function behindComments(sql, start = 0) {
  let at = start;
  while (at < sql.length) {
    if (sql.startsWith('--', at)) at = endOf(sql, '\n', at);
    else if (sql.startsWith('/*', at)) at = endOf(sql, '*/', at + 2);
    else if (SPACE.test(sql[at])) at++;
    else break;
  }
  return at;
}

function endOf(sql, mark, at) {
  const found = sql.indexOf(mark, at);
  return found < 0 ? sql.length : found + mark.length;
}

/** The first word in lower case; '' where there is none. */
function firstWord(sql) {
  LETTERS.lastIndex = behindComments(sql);
  return LETTERS.exec(sql)[0].toLowerCase();
}

/** What follows a ROLLBACK of the whole transaction; undefined where a text begins with something else. */
function behindRollback(sql) {
  if (firstWord(sql) !== 'rollback') return undefined;
  let at = behindComments(sql) + 'rollback'.length;
  TRANSACTION.lastIndex = at;
  if (TRANSACTION.test(sql)) at = TRANSACTION.lastIndex;
  const next = behindComments(sql, at);
  const ended = next === sql.length || sql.slice(at, next).includes(';');
  return ended ? sql.slice(next) : undefined;
}

/** Whether a text ends a transaction and begins another. */
function beginsAnew(sql) {
  const end = sql.search(/\b(?:commit|end|rollback)\b/i);
  return end >= 0 && /\bbegin\b/i.test(sql.slice(end));
}

module.exports = { beginsAnew, behindRollback, firstWord };
