-- Users of each role and zone to develop with. Addresses end in .example, which no mail ever reaches; running it again changes
-- nothing, and rows that somebody edited stay as they are.

INSERT INTO users (id, email, role, zone, subscription_tier) VALUES
    ('00000000-0000-4000-8000-000000000001', 'admin@care.example',             'admin',       NULL,    'free'),
    ('00000000-0000-4000-8000-000000000002', 'coordinator.north@care.example', 'coordinator', 'north', 'free'),
    ('00000000-0000-4000-8000-000000000003', 'coordinator.south@care.example', 'coordinator', 'south', 'premium'),
    ('00000000-0000-4000-8000-000000000004', 'caregiver.north@care.example',   'caregiver',   'north', 'free'),
    ('00000000-0000-4000-8000-000000000005', 'caregiver.south@care.example',   'caregiver',   'south', 'premium')
ON CONFLICT DO NOTHING;

-- An address may be taken by a user made by hand; then there is nobody to give the token to.
INSERT INTO refresh_tokens (id, user_id, token_hash, device, expires_at)
SELECT '00000000-0000-4000-8000-000000000101', id, 'fake-hash-for-development-of-no-token', 'development', '2100-01-01T00:00:00Z'
FROM users WHERE id = '00000000-0000-4000-8000-000000000004'
ON CONFLICT DO NOTHING;
