ALTER TABLE notes ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
