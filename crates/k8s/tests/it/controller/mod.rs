mod children;
mod faults;
mod leader;
mod permissions;
mod statuses;
mod world;
