import candlestore from './index.js';

export const { CandleStore, CandleStoreError, openStore } = candlestore;
export default candlestore;
