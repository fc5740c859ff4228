mod children;
mod faults;
mod leader;
mod statuses;
mod world;
