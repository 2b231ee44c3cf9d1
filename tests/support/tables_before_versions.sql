-- What metadata.create_all made before the tables had versions; {serial} and {blob} are the database's own words.
CREATE TABLE stock (
    sku VARCHAR(128) NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (sku)
);

CREATE TABLE stock_movements (
    id {serial} NOT NULL,
    order_id VARCHAR(128) NOT NULL,
    sku VARCHAR(128) NOT NULL,
    kind VARCHAR(10) NOT NULL,
    quantity INTEGER NOT NULL,
    at FLOAT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (order_id, sku, kind)
);

CREATE TABLE orders (
    id VARCHAR(128) NOT NULL,
    state VARCHAR(20) NOT NULL,
    reason TEXT,
    customer TEXT NOT NULL,
    email TEXT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    total_minor BIGINT NOT NULL,
    refunded_minor BIGINT NOT NULL,
    invoice_number VARCHAR(40),
    created_at FLOAT NOT NULL,
    updated_at FLOAT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (invoice_number)
);

CREATE TABLE invoices (
    order_id VARCHAR(128) NOT NULL,
    number VARCHAR(40) NOT NULL,
    content {blob} NOT NULL,
    created_at FLOAT NOT NULL,
    PRIMARY KEY (order_id),
    UNIQUE (number)
);

CREATE TABLE counters (
    name VARCHAR(40) NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE provider_charges (
    payment_id VARCHAR(128) NOT NULL,
    provider VARCHAR(20) NOT NULL,
    provider_id VARCHAR(200),
    status VARCHAR(10) NOT NULL,
    reason TEXT,
    action_url TEXT,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    order_id VARCHAR(128),
    customer TEXT NOT NULL,
    email TEXT,
    pending_since FLOAT,
    created_at FLOAT NOT NULL,
    updated_at FLOAT NOT NULL,
    PRIMARY KEY (payment_id)
);

CREATE INDEX ix_provider_charges_provider_id ON provider_charges (provider_id);

CREATE TABLE provider_refunds (
    refund_id VARCHAR(128) NOT NULL,
    payment_id VARCHAR(128) NOT NULL,
    provider VARCHAR(20) NOT NULL,
    provider_id VARCHAR(200),
    status VARCHAR(10) NOT NULL,
    amount_minor BIGINT,
    created_at FLOAT NOT NULL,
    asked_at FLOAT,
    PRIMARY KEY (refund_id)
);

CREATE INDEX ix_provider_refunds_payment_id ON provider_refunds (payment_id);

CREATE TABLE sandbox_ledger (
    idempotency_key VARCHAR(200) NOT NULL,
    kind VARCHAR(10) NOT NULL,
    payment VARCHAR(200) NOT NULL,
    status VARCHAR(10) NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    reason TEXT,
    at FLOAT NOT NULL,
    PRIMARY KEY (idempotency_key)
);

CREATE INDEX ix_sandbox_ledger_payment ON sandbox_ledger (payment);

CREATE TABLE sandbox_sms (
    id {serial} NOT NULL,
    reference VARCHAR(128) NOT NULL,
    "to" VARCHAR(20) NOT NULL,
    text TEXT NOT NULL,
    at FLOAT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_sandbox_sms_reference ON sandbox_sms (reference);

CREATE TABLE effects (
    "key" VARCHAR(300) NOT NULL,
    params_hash VARCHAR(64) NOT NULL,
    state VARCHAR(10) NOT NULL,
    owner VARCHAR(300) NOT NULL,
    token INTEGER NOT NULL,
    lease_until FLOAT NOT NULL,
    result TEXT,
    created_at FLOAT NOT NULL,
    done_at FLOAT,
    PRIMARY KEY ("key")
);
