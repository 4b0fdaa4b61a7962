import candlestore from './index.js';

export const { CandleStore, CandleStoreError, Database, SqliteError, openStore } = candlestore;
export default candlestore;
