'use strict';

// Rows as callers get them, made of what the native side has left in the shared memory: numbers by row, and everything else
// in one array, column after column. For each form and each kind of columns there is a function, made when first needed.

const { AT, HEADER, shared } = require('./shared');

/** Kinds of columns. In one of numbers NaN is NULL, because SQLite knows no NaN. */
const NUMBERS = 0;
const OTHERS = 1;
/** Wider rows are made by loops. */
const WIDE = 100;

/** Makers of rows by form, kinds and names: texts are prepared again and again, and a function costs more than they do. */
const MAKERS = new Map();
const MOST_MAKERS = 1_000;

const FORMS = { flat: 'flat', pluck: 'pluck', expand: 'expand', raw: 'raw' };

/** What makes the rows of one statement. */
class RowMaker {
  constructor() {
    this.names = null;
    this.tables = null;
    this.kinds = '';
    this.form = '';
    this.last = null;
  }

  /** The columns have other names than before. */
  rename(names) {
    this.names = names;
    this.tables = null;
    this.kinds = '';
    this.last = null;
  }

  /** Adds the rows of the last call to `out`. */
  addTo(out, others, form) {
    const count = shared.cells[AT.rows];
    if (count > 0) this.maker(form).all(out, count, shared.cells, shared.integers, others);
    return out;
  }

  /** The one row of the last call. */
  one(others, form) {
    return this.maker(form).one(shared.cells, shared.integers, others);
  }

  /** What makes rows of this form of columns of the kinds that the last call had. */
  maker(form) {
    const width = form === FORMS.pluck ? 1 : this.names.length;
    const { kinds } = shared;
    let same = form === this.form && this.kinds.length === width;
    for (let place = 0; same && place < width; place++) same = this.kinds[place] === kinds[place];
    if (same) return this.last;
    this.form = form;
    this.kinds = Uint8Array.prototype.slice.call(kinds, 0, width);
    const key = `${form} ${this.kinds.join('')} ${JSON.stringify([this.names, this.tables])}`;
    this.last = MAKERS.get(key);
    if (this.last === undefined) {
      if (MAKERS.size >= MOST_MAKERS) MAKERS.clear();
      MAKERS.set(key, (this.last = this.make(form)));
    }
    return this.last;
  }

  make(form) {
    const { names, kinds } = this;
    if (form === FORMS.expand) return inLoops(kinds, expanded(names, this.tables));
    const isOdd = form === FORMS.flat && names.includes('__proto__');
    if (kinds.length > WIDE || isOdd) return inLoops(kinds, shaped(names, form));
    try {
      return compiled(names, kinds, form);
    } catch (error) {
      // Some hosts forbid to make functions of texts.
      if (error instanceof EvalError) return inLoops(kinds, shaped(names, form));
      throw error;
    }
  }
}

/** Where each column of other cells begins in the array of them, in columns. */
function placesOfOthers(kinds) {
  let next = 0;
  return Array.from(kinds, (kind) => (kind === OTHERS ? next++ : -1));
}

function compiled(names, kinds, form) {
  const places = placesOfOthers(kinds);
  const take = Array.from(kinds, (kind, column) => {
    if (kind === OTHERS) return `const v${column} = others[${places[column]} * count + row];`;
    if (kind !== NUMBERS) return `const v${column} = integers[at + ${column}];`;
    return `const n${column} = cells[at + ${column}]; const v${column} = n${column} === n${column} ? n${column} : null;`;
  });
  const values = Array.from(kinds, (_, column) => `v${column}`);
  // A constructor, because V8 keeps objects of a literal for old once some have lived long.
  const fields = values.map((value, column) => `this[${JSON.stringify(names[column])}] = ${value};`);
  const made = {
    [FORMS.flat]: `new Row(${values.join(', ')})`,
    [FORMS.raw]: `[${values.join(', ')}]`,
    [FORMS.pluck]: values[0],
  }[form];
  const row = take.join('\n');
  return new Function(`'use strict';
    ${form === FORMS.flat ? `function Row(${values.join(', ')}) { ${fields.join(' ')} } Row.prototype = Object.prototype;` : ''}
    return {
      all(out, count, cells, integers, others) {
        for (let row = 0, at = ${HEADER}; row < count; row++, at += ${kinds.length}) {
          ${row}
          out.push(${made});
        }
      },
      one(cells, integers, others) {
        const row = 0, at = ${HEADER}, count = 1;
        ${row}
        return ${made};
      },
    };`)();
}

/** A function that gives the cells of a row as an array. */
function reader(kinds) {
  const places = placesOfOthers(kinds);
  return (row, count, cells, integers, others) => {
    const at = HEADER + row * kinds.length;
    return Array.from(kinds, (kind, column) => {
      if (kind === OTHERS) return others[places[column] * count + row];
      if (kind !== NUMBERS) return integers[at + column];
      const number = cells[at + column];
      return Number.isNaN(number) ? null : number;
    });
  };
}

function inLoops(kinds, shape) {
  const read = reader(kinds);
  return {
    all(out, count, cells, integers, others) {
      for (let row = 0; row < count; row++) out.push(shape(read(row, count, cells, integers, others)));
    },
    one: (cells, integers, others) => shape(read(0, 1, cells, integers, others)),
  };
}

function shaped(names, form) {
  if (form === FORMS.raw) return (values) => values;
  if (form === FORMS.pluck) return (values) => values[0];
  return (values) => {
    const made = {};
    names.forEach((name, column) => (made[name] = values[column]));
    return made;
  };
}

function expanded(names, tables) {
  return (values) => {
    const made = {};
    names.forEach((name, column) => {
      const table = tables[column] ?? '$';
      if (!Object.hasOwn(made, table)) made[table] = {};
      made[table][name] = values[column];
    });
    return made;
  };
}

module.exports = { FORMS, RowMaker };
