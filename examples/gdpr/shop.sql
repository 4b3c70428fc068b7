-- A small shop: 1,000 users, each with three orders and one invoice. Names, addresses and phones belong to one user each, so
-- that a search for one finds that user and nobody else.
CREATE TABLE users(id bigint PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL, phone text);
CREATE TABLE orders(id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE, amount numeric(12,2) NOT NULL);
CREATE TABLE invoices(id bigserial PRIMARY KEY, user_id bigint NOT NULL, bill_to text, email text, total numeric(12,2) NOT NULL);
CREATE INDEX ON orders(user_id);

INSERT INTO users SELECT i, 'user' || i || '@example.org', 'User ' || lpad(i::text, 4, '0'), '+49 30 ' || 100000 + i
    FROM generate_series(1, 1000) i;
INSERT INTO orders(user_id, amount) SELECT 1 + i % 1000, 5 + i % 90 FROM generate_series(1, 3000) i;
INSERT INTO invoices(user_id, bill_to, email, total) SELECT id, name, email, 10 + id % 90 FROM users;
