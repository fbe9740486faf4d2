CREATE TABLE feeds (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url text NOT NULL UNIQUE,
    title text NOT NULL DEFAULT '',
    problem text NOT NULL DEFAULT '',
    failures integer NOT NULL DEFAULT 0,
    etag text NOT NULL DEFAULT '',
    modified text NOT NULL DEFAULT '',
    next_turn timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX feeds_by_turn ON feeds (next_turn);

CREATE TABLE items (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed_id bigint NOT NULL REFERENCES feeds ON DELETE CASCADE,
    guid text NOT NULL,
    title text NOT NULL,
    summary text NOT NULL,
    link text NOT NULL,
    published timestamptz NOT NULL,
    UNIQUE (feed_id, guid)
);
CREATE INDEX items_by_time ON items (published DESC, id DESC);
