import candlestore from './index.js';

export const {
  CandleStore,
  CandleStoreError,
  CollectorSupervisor,
  Database,
  SqliteError,
  createCollectorSupervisor,
  openStore,
} = candlestore;
export default candlestore;
