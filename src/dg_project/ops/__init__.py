"""Operations on images, features and weights that several methods share."""
