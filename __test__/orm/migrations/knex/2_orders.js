'use strict';

exports.up = async (knex) => {
  await knex.schema.createTable('orders', (table) => {
    table.increments('id');
    table.integer('trader_id').notNullable().references('traders.id').onDelete('CASCADE');
    table.string('symbol').notNullable().index();
    table.float('quantity').checkPositive();
  });
};

exports.down = (knex) => knex.schema.dropTable('orders');
