// The types of the ES module entry: the same names as for require(), and all of them together as the default.
import * as candlestore from './index.js';

export * from './index.js';
export default candlestore;
