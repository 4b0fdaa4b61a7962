'use strict';

exports.up = async (knex) => {
  await knex.schema.createTable('traders', (table) => {
    table.increments('id');
    table.string('name').notNullable().unique();
    table.float('balance').notNullable().defaultTo(0);
    table.binary('photo');
    table.datetime('joined_at');
    table.boolean('active');
    table.json('settings');
  });
};

exports.down = (knex) => knex.schema.dropTable('traders');
