'use strict';

const js = require('@eslint/js');
const globals = require('globals');

module.exports = [
  {
    ignores: [
      'node_modules/',
      '**/node_modules/',
      'target/',
      'coverage/',
      'lib/binding.js',
      'bench/results/',
    ],
  },
  js.configs.recommended,
  {
    files: ['**/*.js'],
    languageOptions: { ecmaVersion: 2023, sourceType: 'commonjs', globals: globals.node },
    rules: {
      'no-unused-vars': ['error', { argsIgnorePattern: '^_', caughtErrors: 'none' }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': 'error',
      strict: ['error', 'global'],
    },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { ecmaVersion: 2023, sourceType: 'module', globals: globals.node },
  },
  { files: ['__test__/**/*.js'], languageOptions: { globals: globals.jest } },
  {
    // What the browser runs: no require, no Node globals.
    files: ['server/public/**/*.js'],
    languageOptions: { sourceType: 'module', globals: globals.browser },
    rules: { strict: 'off' },
  },
];
