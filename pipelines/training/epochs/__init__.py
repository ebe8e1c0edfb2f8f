"""What happens at the ends of steps and epochs: validate, keep the best, save, tell, stop."""
