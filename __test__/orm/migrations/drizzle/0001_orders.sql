CREATE TABLE `orders` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`trader_id` integer NOT NULL REFERENCES `traders`(`id`) ON DELETE CASCADE,
	`symbol` text NOT NULL,
	`quantity` real NOT NULL CHECK (`quantity` > 0)
);
--> statement-breakpoint
CREATE TABLE `samples` (
	`id` integer PRIMARY KEY NOT NULL,
	`seconds` integer,
	`millis` integer,
	`flag` integer,
	`bytes` blob,
	`big` blob,
	`json` text,
	`json_blob` blob,
	`exact` numeric,
	`whole` integer
);
