// Medusa on PostgreSQL, without its web pages; DATABASE_URL says where.
const { defineConfig } = require('@medusajs/framework/utils');

module.exports = defineConfig({
  projectConfig: {
    databaseUrl: process.env.DATABASE_URL,
    databaseDriverOptions: { ssl: false, sslmode: 'disable' },
    http: {
      storeCors: 'http://localhost', adminCors: 'http://localhost', authCors: 'http://localhost',
      jwtSecret: 'of the tests', cookieSecret: 'of the tests',
    },
  },
  admin: { disable: true },
});
