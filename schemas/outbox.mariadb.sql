-- Outbox table, layout native, for MariaDB 10.10 or later with binlog_format=ROW.
CREATE TABLE `outbox` (
  `event_id`     BINARY(16) NOT NULL DEFAULT (UNHEX(CONCAT(LPAD(HEX(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), 12, '0'), HEX(28672 + (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) MOD 1000) * 4096 DIV 1000), HEX(128 + (ASCII(RANDOM_BYTES(1)) & 63)), HEX(RANDOM_BYTES(7))))),
  `event_name`   VARCHAR(255) NOT NULL,
  `topic`        VARCHAR(249) NOT NULL,
  `event_key`    VARBINARY(1024) NULL,
  `payload`      LONGBLOB NULL,
  `content_type` VARCHAR(127) NOT NULL DEFAULT 'application/json',
  `headers`      JSON NULL,
  `created_at`   DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  PRIMARY KEY (`event_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
