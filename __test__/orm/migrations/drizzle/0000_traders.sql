CREATE TABLE `traders` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`name` text NOT NULL,
	`balance` real DEFAULT 0 NOT NULL,
	`invited_by` integer REFERENCES `traders`(`id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `traders_name_unique` ON `traders` (`name`);
